"""Files from outside: brought in by the page, checked, approved by two, run in the workspace."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from pathlib import Path

from playwright.sync_api import Error, Page, Route, expect

from broch.demo.import_script import CALIBRATION_SCRIPT, PURPOSE
from support.running import RunningBroch, client

from .conftest import SignIn
from .pages import (
    CHECKS_MS,
    LAB_MS,
    add_person,
    add_project,
    await_status,
    confirm_and_submit,
    decide,
    file_input,
    new_ingress_draft,
    notebook,
    open_workspace,
    put_in_zone,
    run_all,
    said,
    send,
    stop_workspace,
    submit_ingress,
    upload_row,
)

MIB = 1 << 20


def test_a_script_comes_in_and_runs_in_a_workspace_that_runs_already(
    sign_in: SignIn, broch: RunningBroch
) -> None:
    person = add_person(broch, "Nia Abara")
    project_id = add_project(broch, "Quiet hearts", ["Nia Abara"])
    predictions = "outcome,risk\n" + "".join(f"{i % 2},{(i % 20) / 20}\n" for i in range(200))
    cells = (
        f"from pathlib import Path\nPath('predictions.csv').write_text({predictions!r})",
        "!python /imports/calibration.py predictions.csv",
    )
    put_in_zone(broch, f"{project_id}/home/{person}", "calibrate.ipynb", notebook(*cells))
    nia = sign_in("Nia Abara")
    open_workspace(nia, broch, project_id)

    request_id = new_ingress_draft(nia, broch, "Quiet hearts", PURPOSE)
    send(nia, CALIBRATION_SCRIPT)
    confirm_and_submit(nia, "Our own script.")
    expect(nia.get_by_text("In review").first).to_be_visible(timeout=CHECKS_MS)
    decide(broch, "ruth", request_id)
    decide(broch, "tomasz", request_id)
    nia.reload()
    expect(nia.get_by_text("/imports/calibration.py")).to_be_visible(timeout=CHECKS_MS)

    nia.goto(f"{broch.shell}/projects/{project_id}/workspace")
    lab = nia.frame_locator("iframe")
    expect(lab.get_by_role("listitem", name=re.compile("calibrate"))).to_be_visible(timeout=LAB_MS)
    run_all(lab, "calibrate")
    output = lab.locator(".jp-OutputArea-output").filter(has_text="observed")
    expect(output).to_be_visible(timeout=LAB_MS)
    stop_workspace(broch, "Nia Abara")


def test_a_file_that_arrives_while_the_list_is_asked_for_is_listed_too(
    sign_in: SignIn, broch: RunningBroch, tmp_path: Path
) -> None:
    add_person(broch, "Yara Quist")
    add_project(broch, "Two at a time", ["Yara Quist"])
    for name in ("first.csv", "second.csv"):
        (tmp_path / name).write_text(f"name\n{name}\n")
    yara = sign_in("Yara Quist")
    request_id = new_ingress_draft(yara, broch, "Two at a time", "Two small files")
    held: list[Route] = []
    lists = f"**/airlock/requests/{request_id}/files"
    yara.route(lists, lambda route: route.continue_() if held else held.append(route))
    file_input(yara).set_input_files(tmp_path / "first.csv")
    expect(upload_row(yara, "first.csv")).to_contain_text("Arrived")
    # The list of one file is late: the second has arrived before it is there.
    await_held(yara, held)
    late = yara.evaluate("url => fetch(url).then((answer) => answer.text())", held[0].request.url)
    file_input(yara).set_input_files(tmp_path / "second.csv")
    expect(upload_row(yara, "second.csv")).to_contain_text("Arrived")
    with contextlib.suppress(Error):  # the page does not wait for it any more
        held[0].fulfill(body=late, content_type="text/html")
    table = yara.get_by_role("table", name="Files of this request")
    for name in ("first.csv", "second.csv"):
        expect(table.get_by_text(name)).to_be_visible()
    expect(yara.locator('input[name="seen"]')).to_have_count(2)


def test_a_file_that_was_chosen_before_the_page_could_send_it_is_sent(
    sign_in: SignIn, broch: RunningBroch, tmp_path: Path
) -> None:
    add_person(broch, "Nils Berg")
    add_project(broch, "Quick hands", ["Nils Berg"])
    (tmp_path / "early.csv").write_text("name\nearly\n")
    nils = sign_in("Nils Berg")
    held: list[Route] = []
    nils.route("**/static/upload.js*", lambda route: held.append(route))  # noqa: PLW0108 - it wants a function of its own
    new_ingress_draft(nils, broch, "Quick hands", "One small file")
    file_input(nils).set_input_files(tmp_path / "early.csv")
    expect(upload_row(nils, "early.csv")).to_have_count(0)
    await_held(nils, held)
    held[0].continue_()
    expect(upload_row(nils, "early.csv")).to_contain_text("Arrived")


def await_held(page: Page, held: list[Route]) -> None:
    """Wait until something is held: what a page asks for is told a moment after what it shows."""
    end = time.monotonic() + 30
    while not held:
        assert time.monotonic() < end, "the page did not ask for it"
        page.wait_for_timeout(50)


def big_file(folder: Path) -> tuple[Path, str]:
    """Return 40 MB that no compression helps with, and their sha256."""
    content = hashlib.shake_256(b"upload").digest(40 * 1000 * 1000)
    path = folder / "weights.bin"
    path.write_bytes(content)
    return path, hashlib.sha256(content).hexdigest()


def hold_parts(page: Page) -> list[Route]:
    """Hold every part but the first of an upload back; return what is held."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "PATCH" and route.request.headers.get("upload-offset") != "0":
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/airlock/uploads/*", hold)
    return held


def test_an_upload_that_is_paused_and_reloaded_arrives_whole(
    sign_in: SignIn, broch: RunningBroch, tmp_path: Path
) -> None:
    add_person(broch, "Iker Solano")
    add_project(broch, "Slow lines", ["Iker Solano"])
    path, digest = big_file(tmp_path)
    iker = sign_in("Iker Solano")
    request_id = new_ingress_draft(iker, broch, "Slow lines", "Weights of a published model")
    hold_parts(iker)
    row = upload_row(iker, "weights.bin")

    file_input(iker).set_input_files(path)
    expect(row).to_contain_text("8.0 MiB of 38.1 MiB")
    row.get_by_role("button", name="Pause").click()
    expect(row).to_contain_text("Paused at 8.0 MiB")

    # The person leaves in the middle, comes back, and names the same file again.
    iker.unroute_all(behavior="ignoreErrors")
    offsets: list[str] = []
    iker.on(
        "request",
        lambda request: request.method == "PATCH" and offsets.append(request.headers["upload-offset"]),
    )
    iker.reload()
    file_input(iker).set_input_files(path)
    expect(row).to_contain_text("Arrived, 38.1 MiB", timeout=60_000)
    assert offsets == [str(part * 8 * MIB) for part in range(1, 5)]
    with client(broch, "iker-solano") as api:
        (file,) = said(api.get(f"/api/v1/airlock/requests/{request_id}"))["file_list"]
    assert (file["size"], file["sha256"]) == (path.stat().st_size, digest)


def test_a_paused_upload_goes_on_where_it_stopped(
    sign_in: SignIn, broch: RunningBroch, tmp_path: Path
) -> None:
    add_person(broch, "Paz Moreno")
    add_project(broch, "Stop and go", ["Paz Moreno"])
    path, digest = big_file(tmp_path)
    paz = sign_in("Paz Moreno")
    request_id = new_ingress_draft(paz, broch, "Stop and go", "Weights of a published model")
    hold_parts(paz)
    row = upload_row(paz, "weights.bin")
    file_input(paz).set_input_files(path)
    expect(row).to_contain_text("8.0 MiB of 38.1 MiB")
    row.get_by_role("button", name="Pause").click()
    expect(row.get_by_role("button", name="Resume")).to_be_visible()
    paz.unroute_all(behavior="ignoreErrors")
    row.get_by_role("button", name="Resume").click()
    expect(row).to_contain_text("Arrived, 38.1 MiB", timeout=60_000)
    with client(broch, "paz-moreno") as api:
        (file,) = said(api.get(f"/api/v1/airlock/requests/{request_id}"))["file_list"]
    assert file["sha256"] == digest


def test_a_name_that_lies_is_refused_beside_the_file(
    sign_in: SignIn, broch: RunningBroch, tmp_path: Path
) -> None:
    add_person(broch, "Lena Brandt")
    add_project(broch, "Plain names", ["Lena Brandt"])
    lena = sign_in("Lena Brandt")
    new_ingress_draft(lena, broch, "Plain names", "Names")
    file_input(lena).set_input_files(
        [
            {"name": "table\u202evsc.exe", "mimeType": "text/csv", "buffer": b"a,b\n"},
            {"name": "good.csv", "mimeType": "text/csv", "buffer": b"a,b\n"},
        ]
    )
    row = lena.locator("li.upload[data-state=failed]")
    expect(row).to_contain_text("turns the reading direction")
    expect(upload_row(lena, "good.csv")).to_contain_text("Arrived")
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)

    # A browser cuts folders off the names of files, so a hostile page has to send them itself.
    answer = lena.evaluate(
        """async () => (await fetch(document.querySelector("[data-upload]").dataset.upload, {
          method: "POST",
          headers: {"Tus-Resumable": "1.0.0", "Upload-Length": "1", "X-CSRF-Token": window.broch.csrf(),
                    "Upload-Metadata": "filename " + btoa("../../etc/cron.d/x")},
        })).json()"""
    )
    assert "path separator" in answer["detail"]
    lena.reload()
    files = lena.get_by_role("table", name="Files of this request")
    expect(files.get_by_role("row")).to_have_count(2)  # the heads, and the one good file


def test_a_name_that_is_taken_in_imports_is_said_before_anything_is_lost(
    sign_in: SignIn, broch: RunningBroch, tmp_path: Path
) -> None:
    add_person(broch, "Otto Keller")
    project_id = add_project(broch, "Twice told", ["Otto Keller"])
    first = submit_ingress(broch, "Otto Keller", project_id, {"codes.csv": b"code,name\nA,one\n"}, "Codes")
    decide(broch, "ruth", first)
    decide(broch, "tomasz", first)
    with client(broch, "otto-keller") as api:
        await_status(api, first, "released")
    otto = sign_in("Otto Keller")
    new_ingress_draft(otto, broch, "Twice told", "Newer codes")
    again = tmp_path / "codes.csv"
    again.write_bytes(b"code,name\nA,other\n")
    send(otto, again)
    confirm_and_submit(otto, "A newer edition.")
    expect(otto.get_by_role("alert")).to_contain_text("codes.csv")
    expect(otto.get_by_label("Description")).to_have_value("A newer edition.")
