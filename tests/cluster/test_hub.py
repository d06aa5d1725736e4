"""The hub on a cluster: real pods by the control plane's plans, its own rights alone, everything between over TLS."""

import ssl
import sys
import time
from types import SimpleNamespace
from urllib.parse import urlsplit

import aiohttp
import pytest

from integration.spawner.hub_client import Browser, make_kernel, run_cell, within
from support.busy import slower
from support.cluster.cluster import eventually
from support.cluster.hub_rig import HUB_ORIGIN, SHELL_ORIGIN, running_hub

MINE, OTHER = "w" + "a" * 25, "w" + "b" * 25
OF_ITS_START = {
    "JUPYTERHUB_API_TOKEN",
    "JPY_API_TOKEN",
    "BROCH_DEADLINE",
    "BROCH_TLS_KEY",
    "BROCH_TLS_CERTIFICATE",
}
"""Variables that are other in each start."""
GPU = "nvidia.com/gpu"


@pytest.fixture(scope="module")
def rig(cluster, authority, image, tmp_path_factory):
    with running_hub(
        cluster, authority, image("workspace-python"), tmp_path_factory.mktemp("hub")
    ) as running:
        yield running


def measured(what, seconds):
    sys.stderr.write(f"{what}: {seconds:.2f} s\n")


def base_of(principal):
    parts = urlsplit(HUB_ORIGIN)
    return f"https://{principal}.{parts.netloc}/user/{principal}/"


def browser_of(rig, principal):
    """Return the browser of somebody who is signed in to the control plane."""
    context = ssl.create_default_context(cafile=rig.state / "tls-web" / "ca.crt")
    browser = Browser(rig.address, context)
    browser.set(urlsplit(SHELL_ORIGIN).hostname, "who", principal)
    return browser


@pytest.fixture(scope="module")
def opened(rig):
    """A running workspace, and a browser that entered it."""
    rig.plan(MINE)
    began = time.monotonic()
    answer = rig.start(MINE)
    assert answer.status_code in (201, 202), answer.text
    rig.until_ready(MINE)
    seconds = time.monotonic() - began
    browser = browser_of(rig, MINE)
    answer, url, way = browser.get(base_of(MINE) + "lab")
    assert answer.status_code == 200, (way, answer.text[:500], rig.logs())
    yield SimpleNamespace(browser=browser, answer=answer, url=url, way=way, seconds=seconds)
    browser.close()


def cell(opened, code, kernel=None):
    return within(60, run_cell(opened.browser, base_of(MINE), code, kernel))


def pods_of(rig, principal):
    return [pod for pod in rig.pods() if pod["metadata"]["name"].startswith(f"ws-{principal[1:]}-")]


def test_a_person_gets_from_the_shell_to_lab_in_a_pod(opened, rig):
    measured("from the call to ready", opened.seconds)
    assert "jupyter-config-data" in opened.answer.text
    assert any(step.startswith(f"{SHELL_ORIGIN}/oauth/authorize") for step in opened.way)
    assert [event["event"] for event in rig.events(MINE) if event["event"] != "waiting"] == ["running"]
    [pod] = rig.pods()
    assert pod["metadata"]["name"].startswith(f"ws-{MINE[1:]}-")


def test_pages_allow_websockets_over_tls_only(opened):
    policy = opened.answer.headers["content-security-policy"]
    assert f"connect-src 'self' wss://{urlsplit(base_of(MINE)).netloc};" in policy
    assert f"frame-ancestors 'self' {SHELL_ORIGIN}" in policy
    assert "http://" not in policy


def test_a_kernel_runs_and_its_pod_is_confined(opened):
    said = cell(opened, """
import os, socket
print("UID", os.getuid(), "HOME", os.path.expanduser("~"))
for path in ("/x", "/opt/x", "/etc/x"):
    try: open(path, "w"); print("WROTE", path)
    except OSError as e: print("read-only", e.errno)
open(os.path.expanduser("~/mine"), "w").write("1"); open("/project/shared", "w").write("1")
print("TOKEN", os.path.exists("/var/run/secrets/kubernetes.io"), os.path.exists("/run/broch/identity/token"))
import urllib.request
def hub(path):
    ask = urllib.request.Request(os.environ["JUPYTERHUB_API_URL"] + path,
                                 headers={"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]})
    try: return urllib.request.urlopen(ask, timeout=10).status
    except urllib.error.HTTPError as e: return e.code
print("HUB", hub("/user"), hub("/users"), hub("/groups"))
""")  # fmt: skip
    assert "UID 1000 HOME /home/researcher" in said
    assert "WROTE" not in said
    assert said.count("read-only") == 3
    assert "TOKEN False True" in said
    assert "HUB 200 403 403" in said


ASK = """
import socket, ssl, sys
place = (sys.argv[1], 8888)
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(socket.create_connection(place, 10)) as tls:
    print(tls.version(), ssl.DER_cert_to_PEM_cert(tls.getpeercert(True)))
with socket.create_connection(place, 10) as clear:
    clear.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    try:
        print("IN THE CLEAR", clear.recv(100))
    except ConnectionError:
        print("IN THE CLEAR", b"")
"""


def test_the_server_answers_by_tls_with_the_certificate_of_its_start_and_not_in_the_clear(opened, rig):
    [pod] = rig.pods()
    given = {one["name"]: one.get("value", "") for one in pod["spec"]["containers"][0]["env"]}
    shown = rig.cluster.place.run(sys.executable, "-c", ASK, pod["status"]["podIP"])  # from where the hub is
    assert "TLSv1.3" in shown
    assert given["BROCH_TLS_CERTIFICATE"].strip() in shown
    assert "IN THE CLEAR b''" in shown
    assert "GIVEN True False" in cell(
        opened, "import os; print('GIVEN', 'BROCH_DOOR_URL' in os.environ, 'BROCH_TLS_KEY' in os.environ)"
    )


def test_the_body_of_a_start_changes_nothing(opened, rig):
    [before] = rig.pods()
    rig.stop(MINE)
    body = {
        "image": "local/evil@sha256:" + "0" * 64,
        "profile": "huge",
        "kubespawner_override": {"privileged": True, "mem_limit": "64G", "extra_pod_config": {"hostNetwork": True}},
        "node_selector": {"a": "b"},
        "environment": {"EVIL": "1"},
        "cmd": ["sh", "-c", "id"],
    }  # fmt: skip
    assert rig.start(MINE, body).status_code in (201, 202)
    rig.until_ready(MINE)
    [after] = rig.pods()
    for pod in (before, after):
        for variable in pod["spec"]["containers"][0]["env"]:
            if variable["name"] in OF_ITS_START:
                variable["value"] = ""
        for mounted in pod["spec"]["volumes"]:
            mounted.pop("projected", None)
        pod["spec"].pop("activeDeadlineSeconds")
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    opened.browser.get(base_of(MINE) + "lab")


def test_a_hub_that_is_killed_finds_its_notebooks_again(opened, rig):
    kernel = make_kernel(opened.browser, base_of(MINE))
    assert "SET" in cell(opened, "kept = 41; print('SET')", kernel)
    [before] = rig.pods()
    rig.stop_hub(kill=True)
    rig.start_hub()
    assert rig.ready(MINE), rig.logs()
    [after] = rig.pods()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "KEPT 42" in cell(opened, "print('KEPT', kept + 1)", kernel)


def test_a_hub_that_is_told_to_end_leaves_notebooks_alone(opened, rig):
    kernel = make_kernel(opened.browser, base_of(MINE))
    assert "SET" in cell(opened, "kept = 1; print('SET')", kernel)
    rig.stop_hub()
    [pod] = rig.pods()
    assert pod["status"]["phase"] == "Running"
    rig.start_hub()
    assert "KEPT 1" in cell(opened, "print('KEPT', kept)", kernel)


def test_a_hub_that_dies_in_the_middle_of_a_start_takes_the_pod_up_again_or_away(rig):
    """Away: where the next hub is so late that the server inside gave up looking for it."""
    principal = "w" + "k" * 25
    rig.plan(principal)
    rig.start(principal)
    eventually(lambda: pods_of(rig, principal), pause=0.02)
    rig.stop_hub(kill=True)
    [before] = pods_of(rig, principal)
    rig.start_hub()

    def settled():
        told = [one["event"] for one in rig.events(principal)]
        assert rig.ready(principal) or ("failed" in told and not pods_of(rig, principal)), (
            f"{told} {rig.logs()}"
        )
        return True

    eventually(settled, 120)
    if rig.ready(principal):
        [after] = pods_of(rig, principal)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        rig.stop(principal)
    rig.start(principal)
    eventually(lambda: rig.ready(principal), 120)
    assert len(pods_of(rig, principal)) == 1
    rig.stop(principal)


@pytest.mark.parametrize(
    ("name", "token", "method", "path", "status"),
    [
        ("web", "web", "GET", "/users", 403),
        ("web", "web", "GET", "/users?state=active&sort=id&offset=0&limit=100", 200),
        ("web", "web", "GET", "/info", 403),
        ("web", "web", "POST", "/shutdown", 403),
        ("web", "web", "GET", f"/users/{MINE}/tokens", 403),
        ("gateway", "web", "GET", "/users?state=active", 403),
        ("gateway", "web", "DELETE", f"/users/{MINE}/server", 403),
        ("gateway", "web", "GET", "/", 200),
        ("other", "web", "GET", "/", 403),
        ("hub", "web", "GET", "/", 403),
    ],
)
def test_each_neighbour_has_its_own_list_at_the_hubs_api(rig, name, token, method, path, status):
    assert rig.api(method, path, name=name, token=token).status_code == status


def test_the_hubs_api_wants_a_certificate(rig):
    context = ssl.create_default_context(cafile=rig.state / "tls-web" / "ca.crt")

    async def ask():
        async with aiohttp.ClientSession() as session:
            await session.get(f"https://{rig.address}:9081/hub/api/", ssl=context)

    with pytest.raises(aiohttp.ClientError):
        within(30, ask())


def test_somebody_else_does_not_get_in(opened, rig):
    stranger = browser_of(rig, OTHER)
    answer, url, _ = stranger.get(base_of(MINE) + "lab")
    assert answer.status_code in (400, 403), url
    assert "jupyter-config-data" not in answer.text
    stranger.close()


def told_within(rig, principal, word):
    """Have a workspace started that cannot; return what was told, and see that it was soon.

    Five seconds on a machine of our own: the hub, the API server and the node have their part in it.
    """
    seconds = 5.0 * slower()
    before = time.time()
    answer = rig.start(principal)
    if answer.status_code not in (201, 202):
        assert answer.status_code == 409, answer.text
    told = rig.told(principal, word, 30)
    measured(f"told '{told['detail']}'", told["at"] - before)
    assert told["at"] - before < seconds
    return told


def until_failed(rig, principal, seconds):
    eventually(lambda: [one for one in rig.events(principal) if one["event"] == "failed"], seconds)
    assert not pods_of(rig, principal)


def test_a_missing_image_is_told_and_the_next_start_heals(rig):
    principal = "w" + "i" * 25
    rig.plan(principal, cluster={"image": "local/none@sha256:" + "1" * 64})
    told_within(
        rig, principal, "The image of this workspace (none) cannot be fetched. Tell your administrator."
    )
    until_failed(rig, principal, 60)
    rig.plan(principal)
    eventually(lambda: rig.start(principal).status_code in (201, 202))
    eventually(lambda: rig.ready(principal), 120)
    rig.stop(principal)


def test_full_gpus_are_told_by_number_and_a_stopped_workspace_makes_room(rig, gpus, cluster):
    holder, second = "w" + "g" * 25, "w" + "h" * 25
    rig.plan(holder, cluster={"gpus": {gpus: 2}})
    rig.plan(second, cluster={"gpus": {gpus: 1}})
    rig.start(holder)
    rig.until_ready(holder)
    told = told_within(rig, second, "GPUs")
    assert (
        told["detail"] == "All 2 GPUs of this project are in use. Stop a workspace or ask your administrator."
    )
    assert told["event"] == "failed"
    rig.stop(holder)
    eventually(lambda: rig.start(second).status_code in (201, 202))
    eventually(lambda: rig.ready(second), 120)
    rig.stop(second)


def test_a_missing_volume_is_told_and_the_start_goes_on_when_it_is_there(rig, cluster):
    principal = "w" + "v" * 25
    mounts = [{"source": "data-01late000000000000000000", "target": "/data/late", "read_only": True}]
    rig.plan(principal, mounts=mounts)
    told = told_within(rig, principal, "A dataset")
    assert told["event"] == "waiting"
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": mounts[0]["source"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    cluster.apply(claim, namespace=rig.namespace)
    rig.until_ready(principal, 90)
    rig.stop(principal)


def test_a_workspace_without_a_node_waits_with_a_reason_and_fails_with_it(rig):
    principal = "w" + "n" * 25
    rig.plan(principal, cluster={"node_selector": {"broch.dev/none": "here"}})
    told = told_within(rig, principal, "No computer of the cluster takes this kind")
    assert told["event"] == "waiting"
    until_failed(rig, principal, 60)


def test_a_kernel_that_takes_too_much_memory_is_told_as_that(rig):
    principal = "w" + "m" * 25
    rig.plan(principal)
    rig.start(principal)
    rig.until_ready(principal)
    browser = browser_of(rig, principal)
    browser.get(base_of(principal) + "lab")
    code = "hog = [bytearray(b'x') * (64 << 20) for _ in range(40)]; print('SURVIVED')"
    before = time.time()

    with pytest.raises((AssertionError, OSError, aiohttp.ClientError, TimeoutError)):
        within(60, run_cell(browser, base_of(principal), code))
    told = rig.told(principal, "ran out of memory: it may use 700 MiB", 30)
    measured("out of memory told, from the cell's begin", told["at"] - before)
    assert told["event"] == "failed"
    eventually(lambda: browser.call("GET", base_of(principal) + "lab").status_code == 503)
    browser.close()


def test_a_workspace_ends_at_its_deadline_and_says_so(rig):
    principal = "w" + "d" * 25
    factor = min(slower(), 3.0)
    rig.plan(principal, seconds=40 * factor)  # from now on: the pod and its Lab start in it
    rig.start(principal)
    rig.until_ready(principal)
    told = rig.told(principal, "The time for this workspace is over.", 90 * factor)
    assert told["event"] == "stopped"
    eventually(lambda: not pods_of(rig, principal))


def test_a_pod_that_vanishes_is_noticed(rig, cluster):
    principal = "w" + "x" * 25
    rig.plan(principal)
    rig.start(principal)
    rig.until_ready(principal)
    [pod] = pods_of(rig, principal)
    cluster.delete("pod", pod["metadata"]["name"], rig.namespace)
    eventually(lambda: [one for one in rig.events(principal) if one["event"] in ("failed", "stopped")])
    eventually(lambda: not rig.ready(principal))


def test_a_stop_returns_when_the_pod_is_gone(opened, rig):
    assert pods_of(rig, MINE)
    rig.stop(MINE)
    assert not pods_of(rig, MINE)
    assert [one["event"] for one in rig.events(MINE)][-1] == "stopped"
