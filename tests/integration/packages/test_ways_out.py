"""What must not be a way out or a way in: names, redirects, addresses, sizes, and an end in the middle."""

import random
import socket
import subprocess
import sys
import textwrap

import pytest

from broch_workspaces.packages.spec import Ecosystem
from support.counts import count
from support.packages import package, package_world, resource, sha256, wheel

NAME, DATA = wheel("tidy", "1.0")
TIDY = package(Ecosystem.PYPI, "tidy", "1.0", (NAME, DATA))
FILE = f"/packages/pypi/files/tidy/1.0/{NAME}"
PLACE = f"/hashed/{sha256(NAME.encode())[:8]}/{NAME}"
GOOD = (
    "/packages/pypi/simple/tidy/",
    FILE,
    "/packages/cran/src/contrib/tidy_1.0.tar.gz",
    "/packages/conda/forge/noarch/tidy-1.0-py_0.conda",
    "/packages/npm/tidy",
    "/packages/npm/@scope%2ftidy",
    "/packages/npm/tidy/-/tidy-1.0.0.tgz",
    "/resources/tidy",
)
BENT = (
    "%2e%2e/",
    "%2f",
    "../",
    "./",
    "//",
    "%00",
    "?a=b",
    "#x",
    "%74",
    "\\",
    ";a",
    "T",
    " ",
    "%252e",
    "@",
    "é",
    ".",
)


def bent(number):
    """Return a target that is no listed one, always the same for a number."""
    random_ = random.Random(number)
    target = random_.choice(GOOD)
    for _ in range(random_.randrange(1, 4)):
        at = random_.randrange(1, len(target) + 1)
        target = target[:at] + random_.choice(BENT) + target[at:]
    return target.replace(" ", "%20") if random_.random() < 0.5 else target.replace(" ", "")


def unlisted(number):
    """Return a target in the right form that names nothing listed."""
    random_ = random.Random(number)
    name = "".join(random_.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(random_.randrange(3, 30)))
    return random_.choice(GOOD).replace("tidy", name)


def test_a_thousand_bent_or_unlisted_names_make_no_request_outside(shared):
    shared.registry.put_pypi(TIDY, {NAME: DATA})
    shared.allow(TIDY)
    number = count("bent or unlisted names at the gateway", ci=1000, nightly=20000)
    targets = [bent(n) if n % 2 else unlisted(n) for n in range(number)]
    answers = [shared.ask(target) for target in targets if target not in GOOD]
    assert len(answers) >= number * 0.99
    assert {answer.status for answer in answers} <= {400, 403, 404}
    assert not any(answer.body == DATA for answer in answers)
    assert shared.registry.asked == []
    assert shared.control.fetches == []
    assert shared.ask(FILE).body == DATA, "the twin: the right name is asked for outside"
    assert len(shared.registry.asked) == 2


@pytest.mark.parametrize(
    "to",
    [
        "https://127.0.0.1:{port}/x",
        "https://127.0.0.2:{port}/x",
        "https://localhost:1/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]:{port}/x",
        "https://[::ffff:127.0.0.1]:{port}/x",
        "https://2130706433:{port}/x",
        "http://localhost:{port}/x",
        "https://user@localhost:{port}/x",
        "https://localhost:{port}@127.0.0.1/x",
        "https://other.localhost:{port}/x",
        "//other.localhost:{port}/x",
        "file:///etc/passwd",
        "https://",
        "",
        "/loop",
    ],
)
def test_a_redirect_elsewhere_is_not_followed(shared, to):
    shared.registry.put_pypi(TIDY, {NAME: DATA})
    shared.registry.redirect("/loop", "/loop")
    shared.registry.put("/x", DATA)
    shared.registry.redirect(PLACE, to.format(port=shared.registry.port))
    # Under another name of a file, so that what another test had kept is not served.
    listed = package(Ecosystem.PYPI, "tidy", "1.0", (NAME, DATA + b"!" + to.encode()))
    shared.allow(listed, resources=(resource("x", f"{shared.outside}{PLACE}"),))
    shared.registry.asked.clear()
    for target in (FILE, "/resources/x"):
        answer = shared.ask(target)
        assert answer.status == 502, answer.body
        assert answer.json()["type"].endswith("registry")
    assert "/x" not in shared.registry.asked
    assert shared.registry.asked.count("/loop") <= 2 * 3


def test_a_redirect_on_the_same_host_is_followed(shared):
    shared.registry.put_pypi(TIDY, {NAME: DATA})
    shared.registry.redirect("/one", "/two", 301)
    shared.registry.redirect("/two", f"{shared.outside}/three", 307)
    shared.registry.put("/three", b"three")
    shared.allow(resources=(resource("x", f"{shared.outside}/one"),))
    assert shared.ask("/resources/x").body == b"three"


@pytest.fixture
def names(monkeypatch):
    """Return what a hostile name server says: by name, a list of answers, the last for ever."""
    told: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **more):
        if host not in told:
            return real(host, port, *args, **more)
        answers = told[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (
                family,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port) + ((0, 0) if family == socket.AF_INET6 else ()),
            )
            for address in answer
            for family in [socket.AF_INET6 if ":" in address else socket.AF_INET]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return told


@pytest.mark.parametrize(
    "answers",
    [
        [["127.0.0.2"]],
        [["::1"]],
        [["::ffff:127.0.0.2"]],
        [["64:ff9b::7f00:2"]],
        [["10.1.2.3"]],
        [["169.254.169.254"]],
        [["100.100.100.200"]],
        [["fd00:ec2::254"]],
        [["0.0.0.0"]],
        # Rebinding: what the first look-up says is outside (and not there), what any further one says is not.
        [["2620:fe::dead"], ["127.0.0.2"]],
        [["2620:fe::dead", "127.0.0.2"]],
    ],
    ids=lambda answers: ">".join("+".join(one) for one in answers),
)
def test_a_name_that_leads_inside_is_not_connected_to(tmp_path, names, answers):
    names["other.localhost"] = answers
    with package_world(tmp_path, inside=("127.0.0.1/32",), connect_seconds=0.5) as world:
        world.registry.put("/x", b"inside")
        world.allow(resources=(resource("x", f"https://other.localhost:{world.registry.port}/x"),))
        for _ in range(3):
            assert world.ask("/resources/x").status in {502, 503}
        assert world.registry.asked == []
        assert world.route.counts.of("addresses", "refused") >= 1
        # The twin: the same name at the address that the settings name as a mirror's.
        names["other.localhost"] = [["127.0.0.1"]]
        assert world.ask("/resources/x").body == b"inside"


def test_a_file_that_grows_too_large_is_cut_and_leaves_nothing(tmp_path):
    name, data = wheel("large", "1.0", filler=random.Random(1).randbytes(300_000))
    listed = package(Ecosystem.PYPI, "large", "1.0", (name, data))
    with package_world(tmp_path, largest_file=200_000) as world:
        world.registry.put_pypi(listed, {name: data})
        world.allow(listed)
        answer = world.ask(f"/packages/pypi/files/large/1.0/{name}")
        assert answer.status == 502
        assert "200,000" in answer.json()["detail"]
        assert list(world.scratch.iterdir()) == []


def test_the_scratch_folder_is_bounded_and_forgets_what_was_used_longest_ago(tmp_path):
    files = [wheel(f"part{n}", "1.0", filler=random.Random(n).randbytes(100_000)) for n in range(4)]
    listed = [package(Ecosystem.PYPI, f"part{n}", "1.0", file) for n, file in enumerate(files)]
    with package_world(tmp_path, scratch_bytes=250_000) as world:
        for one, (name, data) in zip(listed, files, strict=True):
            world.registry.put_pypi(one, {name: data})
        world.allow(*listed)
        for one, (name, data) in zip(listed, files, strict=True):
            assert world.ask(f"/packages/pypi/files/{one.name}/1.0/{name}").body == data
            assert sum(path.stat().st_size for path in world.scratch.iterdir()) <= 250_000
        world.registry.asked.clear()
        world.ask(f"/packages/pypi/files/part3/1.0/{files[3][0]}")
        assert world.registry.asked == []
        world.ask(f"/packages/pypi/files/part0/1.0/{files[0][0]}")
        assert len(world.registry.asked) == 2


def test_a_process_that_is_killed_in_the_middle_leaves_nothing_that_is_served(tmp_path):
    folder = tmp_path / "scratch"
    program = textwrap.dedent(
        """
        import asyncio, os, sys
        from pathlib import Path
        from broch_workspaces.packages.scratch import Scratch

        async def data():
            yield b"half" * 50_000
            await asyncio.sleep(0.2)
            print("written", flush=True)
            await asyncio.sleep(60)

        scratch = Scratch(Path(sys.argv[1]), 1_000_000)
        asyncio.run(scratch.take(data(), 1_000_000, ()))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.kill()
    process.wait()
    (left,) = folder.iterdir()
    assert left.stat().st_size > 0, "it was in the middle"
    with package_world(tmp_path) as world:
        assert list(folder.iterdir()) == []
        half = package(Ecosystem.PYPI, "tidy", "1.0", (NAME, b"half"))
        world.allow(half)
        assert world.ask(FILE).status == 404
