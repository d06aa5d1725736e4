"""The environment is made from the lock, with the person's own pip settings, and is known by its stamp."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from broch.dev import environment

ROOT = Path(__file__).parents[3]


def test_settings_of_pip_are_said_in_words_of_uv():
    listing = """\
global.index-url='https://one.example.org/'
:env:.index-url='https://two.example.org/'
global.cert='/etc/ssl/ca.pem'
install.trusted-host='one.example.org'
list.format='columns'
global.find-links='/does/not/exist https://links.example.org/'
"""
    assert environment.uv_settings(environment.pip_settings(listing), {}) == {
        "UV_DEFAULT_INDEX": "https://two.example.org/",
        "SSL_CERT_FILE": "/etc/ssl/ca.pem",
        "UV_INSECURE_HOST": "one.example.org",
        "UV_FIND_LINKS": "https://links.example.org/",
    }


def test_what_is_set_for_uv_stays():
    pip = {"cert": "/pip.pem", "extra-index-url": "https://x.example.org/"}
    settings = environment.uv_settings(pip, {"SSL_CERT_FILE": "/mine.pem"})
    assert settings == {"UV_INDEX": "https://x.example.org/", "UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_the_cache_is_left_alone_in_a_home_of_ours(tmp_path):
    assert environment.cache_settings(tmp_path, {"HOME": str(tmp_path)}) == {}


@pytest.mark.parametrize("home", [{}, {"HOME": ""}, {"HOME": "/nonexistent/home"}])
def test_without_a_home_the_cache_lies_in_the_checkout(tmp_path, home):
    settings = environment.cache_settings(tmp_path, home)
    assert settings["UV_CACHE_DIR"] == str(tmp_path / ".cache" / "uv")


def test_a_pin_is_taken_with_all_its_hashes_and_nothing_else():
    lock = "uv==1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via x\nuvicorn==2 \\\n    --hash=sha256:cc\n"
    assert environment.pinned(lock, "uv") == lock[: lock.index("uvicorn")]


def test_a_lock_without_uv_is_told():
    with pytest.raises(environment.SetUpFailed, match="does not pin uv: run"):
        environment.pinned("uvicorn==2\n", "uv")


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "a checkout"
    root.mkdir()
    for name in ("pyproject.toml", environment.RUNTIME_LOCK, environment.DEV_LOCK):
        (root / name).write_text(f"# {name}\n")
    env = root / ".venv"
    (env / "bin").mkdir(parents=True)
    # Stands for Python: says how it was called.
    python = env / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    script = root / "broch"
    script.write_bytes((ROOT / "broch").read_bytes())
    script.chmod(0o755)
    return root


def stamped(root, *, dev):
    env = root / ".venv"
    name = environment.DEV_STAMP if dev else environment.RUNTIME_STAMP
    (env / name).write_text(environment.stamp(root, env, dev=dev) + "\n")


def start(root, *arguments, **extra):
    # Without a usable Python: if the script found the environment out of date, it could only fail.
    tools = root / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("readlink", "cat", "sha256sum", "id"):
        link = tools / name
        if not link.exists():
            link.symlink_to(f"/usr/bin/{name}")
    command = ["/bin/sh", str(root / "broch"), *arguments]
    environ = {"PATH": str(tools)} | extra
    return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "dev", "module"),
    [
        (["doctor", "a b"], False, "broch.cli.main"),
        (["--help"], False, "broch.cli.main"),
        (["test", "unit"], True, "broch.dev"),
    ],
)
def test_the_script_and_environment_agree_on_the_stamp(checkout, arguments, dev, module):
    stamped(checkout, dev=dev)
    done = start(checkout, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["-P", "-m", module, *arguments]


@pytest.mark.parametrize(
    ("arguments", "have", "asked"),
    [
        (["up"], [], True),
        (["up"], ["bwrap", "clamd"], False),
        (["up", "--help"], [], False),
        (["doctor"], [], False),
    ],
)
def test_up_first_asks_for_the_system_packages_that_are_missing(checkout, arguments, have, asked):
    stamped(checkout, dev=False)
    tools = checkout / "tools"
    tools.mkdir()
    for name in have:
        (tools / name).symlink_to("/bin/true")
    lines = start(checkout, *arguments).stdout.splitlines()
    assert lines[-len(arguments) - 3 :] == ["-P", "-m", "broch.cli.main", *arguments]
    assert ("broch.dev.packages" in lines) is asked


def test_the_script_runs_through_a_link_from_elsewhere(checkout, tmp_path):
    stamped(checkout, dev=False)
    link = tmp_path / "broch"
    link.symlink_to(checkout / "broch")
    done = subprocess.run([link, "doctor"], cwd="/", capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "doctor"


def test_a_changed_lock_makes_the_environment_stale(checkout):
    stamped(checkout, dev=False)
    assert environment.is_current(checkout, checkout / ".venv", dev=False)
    (checkout / environment.RUNTIME_LOCK).write_text("# changed\n")
    assert not environment.is_current(checkout, checkout / ".venv", dev=False)


def test_a_moved_checkout_makes_the_environment_stale(checkout, tmp_path):
    stamped(checkout, dev=False)
    moved = checkout.rename(tmp_path / "elsewhere")
    assert not environment.is_current(moved, moved / ".venv", dev=False)


def test_a_current_environment_is_left_as_it_is(checkout):
    stamped(checkout, dev=False)
    environment.prepare(checkout, checkout / ".venv", dev=False)
    assert not (checkout / ".venv" / environment.UNFINISHED).exists()


def test_a_folder_that_is_no_environment_is_never_removed(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(environment.SetUpFailed, match="is no Python environment"):
        environment.make_venv(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_unfinished_environment_is_made_anew(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr(environment, "run", lambda what, command, **_: steps.append((what, command[-1])))
    env = tmp_path / "env"
    env.mkdir()
    (env / environment.UNFINISHED).touch()
    (env / "half-installed").touch()
    environment.make_venv(env)
    assert not (env / "half-installed").exists()
    assert (env / environment.UNFINISHED).exists()
    assert steps == [("python -m venv", env)]


def test_a_second_start_waits_for_the_first(tmp_path):
    path = tmp_path / "env.lock"
    code = "import sys, pathlib; from broch.dev import environment as e\nwith e.only_one(pathlib.Path(sys.argv[1])): print('mine')"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = subprocess.Popen(
            [sys.executable, "-c", code, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert "waiting for it" in second.stderr.readline()
        assert second.poll() is None
    assert second.communicate(timeout=30)[0] == "mine\n"


def test_what_root_made_is_readable_for_services(tmp_path):
    secretive = tmp_path / "module.py"
    secretive.touch(0o600)
    program = tmp_path / "program"
    program.touch(0o700)
    environment.make_readable(tmp_path)
    assert [oct(path.stat().st_mode & 0o777) for path in (secretive, program)] == ["0o644", "0o755"]


def test_the_stamp_is_a_digest_of_pyproject_and_lock(checkout):
    text = b"# pyproject.toml\n# requirements.lock\n"
    assert environment.stamp(checkout, checkout / ".venv", dev=False).endswith(
        "|" + hashlib.sha256(text).hexdigest()
    )
