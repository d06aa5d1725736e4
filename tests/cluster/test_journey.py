"""The whole way on a cluster, through the doors that people use: signed in by the provider, in a zone made for it.

What one machine's journey arranges by a demo comes in as an administrator and a data steward bring it in; the
notebook itself comes in through the airlock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from browser.test_journey import CHECKS_SECONDS, approve_every_file, run_notebook, save, verify
from support.chart import alerted
from support.cluster.browsing import SHELL, Desk, await_lab, call
from support.cluster.cluster import Cluster, Refused
from support.cluster.release import COLLECTOR, SPACE, Release, zone_of
from support.cluster.targets import python_pod

CHECKED_MS = 4 * CHECKS_SECONDS
_COPY = """async () => {
  const base = location.pathname.split("/").slice(0, 3).join("/");
  const xsrf = document.cookie.split("; ").find(c => c.includes("_xsrf=")).split("_xsrf=")[1];
  const answer = await fetch(base + "/api/contents", {method: "POST", headers: {"X-XSRFToken": xsrf},
    body: JSON.stringify({copy_from: "imports/first_look.ipynb"})});
  return [answer.status, await answer.text()];
}"""


def copy_notebook(page: Page, lab: FrameLocator) -> None:
    """Copy the notebook from /imports, which is read-only, to the home, as Lab's own menu does."""
    frame = next(frame for frame in page.frames if "/user/" in frame.url)
    status, text = frame.evaluate(_COPY)
    assert status == 201, text
    expect(lab.get_by_role("listitem", name=re.compile("first_look"))).to_be_visible(timeout=30_000)


def test_the_chart_is_ready_and_says_so(release: Release, desk: Desk) -> None:
    assert release.seconds < 420
    assert call(desk.page("mona"), "GET", "/readyz")["ready"]  # a 503 is raised with what is unwell


_READ = """import ssl, sys, urllib.request
trusting = ssl._create_unverified_context()
with urllib.request.urlopen(f"https://{sys.argv[1]}/metrics", context=trusting, timeout=5) as answer:
    print(answer.read().decode())"""


def test_a_collector_that_is_let_in_reads_what_alerts_are_made_of_and_nobody_else_does(
    release: Release, cluster: Cluster, python: str
) -> None:
    def read(space: str) -> str:
        return cluster.exec(space, "collector", "/bin/python3", "-I", "-S", "-c", _READ, f"{web}:8448")

    [pod] = cluster.get("pods", namespace=SPACE, selector="app.kubernetes.io/component=web")["items"]
    web = pod["status"]["podIP"]
    with cluster.namespace("collector", COLLECTOR) as let_in, cluster.namespace("collector") as other:
        for space in (let_in, other):
            cluster.run(python_pod("collector", python), space)
        assert len(alerted(read(let_in))) == 4
        with pytest.raises(Refused, match="timed out"):
            read(other)


def test_a_result_goes_out_of_a_zone_by_two_blind_decisions_with_a_proof(
    release: Release,
    desk: Desk,
    texture: str,
    cluster: Cluster,
    picture: Callable[[Page, str], None],
    tmp_path: Path,
) -> None:
    ada = desk.page("ada")
    ada.goto(f"{SHELL}/projects/{texture}")
    ada.get_by_role("button", name="Open workspace").click()
    lab = await_lab(ada)
    copy_notebook(ada, lab)
    run_notebook(lab)
    picture(ada, "cluster-workspace")
    pods = cluster.get("pods", namespace=zone_of(cluster, texture), selector="broch.dev/role=workspace")
    assert len(pods["items"]) == 1

    ada.goto(f"{SHELL}/airlock")
    ada.get_by_role("row", name=re.compile("Draft")).get_by_role("link").first.click()
    request_page = ada.url
    expect(ada.get_by_text("table.csv").first).to_be_visible()
    expect(ada.get_by_text("plot.png").first).to_be_visible()
    ada.get_by_label("Description").fill("Coefficients and rounded counts; no group below ten people.")
    ada.get_by_label("I have looked at each file").check()
    ada.get_by_role("button", name="Submit", exact=True).click()
    expect(ada.get_by_text("In review").first).to_be_visible(timeout=CHECKED_MS)
    expect(ada.get_by_role("button", name="Download")).to_have_count(0)

    for reviewer in ("ruth", "tomasz"):
        page = desk.page(reviewer)
        page.goto(f"{SHELL}/")
        approve_every_file(page)
    ada.goto(request_page)
    expect(ada.get_by_role("heading", name="Released files")).to_be_visible(timeout=CHECKED_MS)
    picture(ada, "cluster-released")
    rows = ada.get_by_role("table", name="Released files").get_by_role("row")
    for name in ("table.csv", "plot.png"):
        save(ada, rows.filter(has_text=name).get_by_role("button", name="Download").click, tmp_path, name)
    save(ada, ada.get_by_role("link", name="Save the receipt").click, tmp_path, "receipt.json")
    save(ada, ada.get_by_role("link", name="Save the public keys").click, tmp_path, "trust.json")

    said = verify(tmp_path, "receipt.json", "table.csv", "plot.png")
    assert said.returncode == 0, said.stdout + said.stderr
    table = bytearray((tmp_path / "table.csv").read_bytes())
    table[len(table) // 2] ^= 1
    (tmp_path / "table.csv").write_bytes(table)
    said = verify(tmp_path, "receipt.json", "table.csv", "plot.png")
    assert said.returncode == 1, said.stdout + said.stderr
    assert "differ" in said.stdout
    assert json.loads((tmp_path / "receipt.json").read_text())
