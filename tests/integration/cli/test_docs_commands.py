"""Every command of the documents is run, in their order, against a running Broch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.documented import ROOT, command_lines, shown_inline
from support.running import RunningBroch
from support.story import Story

CLI = Path("docs/cli.md")
TABLE = b"group,count\nbenign,355\nmalignant,210\n"
REQUIREMENTS = b"numpy==2.3.5\nseaborn==0.13.2\n"
PNG = ROOT / "docs" / "pictures" / "airlock.png"

SAID = {
    "broch doctor": "makes sandboxes",
    "broch config": "BROCH_PORT",
    "broch backup": "as they were signed",
    "broch whoami": "Sunniva Rao (sunniva)",
    "broch people add": "can sign in as noor now",
    "broch people list": "Ruth Wanjiru",
    "broch people sign-out": "sessions of noor are ended",
    "broch project create": "Created bone-age",
    "broch project activate": "bone-age is active",
    "broch project shared-workspace": "a shared workspace is allowed",
    "broch project add-member": "Noor Adeyemi is a lead",
    "broch packages import": "2 are asked for, 0 were known before",
    "broch packages list --project bone-age": "numpy@2.3.5",
    "broch packages list --status": "waiting",
    "broch packages show": "seaborn 0.13.2",
    "broch packages approve --project": "0 may be installed",
    "broch packages decline": "1 are declined",
    "broch packages again": "seaborn 0.13.2 is proposed",
    "broch project resource add": "is proposed",
    "broch project resource approve": "genes is allowed",
    "broch project resource list": "https://example.org/genes.tsv",
    "broch project resource remove": "genes is removed",
    "broch project resource again": "genes is allowed",
    "broch project resource decline": "scores is declined",
    "broch dataset add-version hand-xrays ./xrays --seal": "Version 1 is sealed: 2 files",
    "broch dataset remove-file": "thumbs.db is out of version 1",
    "broch dataset verify": "as it was sealed: 2 files",
    "broch dataset files": "hand-2.dcm",
    "broch dataset grant": "Bone age may use hand-xrays version 1",
    "broch dataset allow-export": "Noor Adeyemi may submit results of Bone age",
    "broch dataset withdraw-export": "may no longer submit",
    "broch dataset revoke": "Bone age may no longer use hand-xrays",
    "broch workspace open": "/projects/",
    "broch workspace open tumour-texture --shared": "/shared",
    "broch workspace list": "running",
    "broch workspace stop": "is stopped",
    "broch airlock remove-file": "1 files are left",
    "broch airlock show": "in_review",
    "broch airlock withdraw": "is withdrawn",
    "broch airlock browse": "results/table.csv",
    "broch airlock pick": "has 2 files",
    "broch airlock queue": "Table 2, figure 1",
    "broch airlock decide": "Decided 'approve'",
    "broch airlock download": "Saved 2 files",
    "broch verify": "VERIFIED",
    "broch verify --trust trust.json --recalls": "not recalled up to",
    "broch airlock releases": "released",
    "broch airlock recall 01": "is recalled",
    "broch audit list": "airlock:release",
    "broch audit verify": "as they were signed",
    "broch audit verify --checkpoint": "continues the",
    "broch audit verify --against": "continues them",
    "broch audit mirror": "records are new",
    "broch audit erase": "are erased",
    "broch audit rotate-key": "Signs from now on",
    "broch project browser-policy": "without Connection-Allowlist: refuse",
    "broch project idle-stop": "stopped after 120 minutes",
    "broch project freeze": "bone-age is frozen",
    "broch project thaw": "bone-age is active",
    "broch freeze": "projects stop now",
    "broch unfreeze": "not frozen any more",
    "broch project remove-member": "no member of bone-age any more",
    "broch project end": "bone-age is ended",
    "broch logout": "Signed out",
}
"""What the lines that begin like this print."""


NOT_HERE = {
    "broch up": "what `running` is",
    (
        "broch keycloak setup --url https://id.example.org --broch https://tre.example.org "
        "--client-secret oidc --admin-password admin-password"
    ): "wants a Keycloak: test_oidc_setup.py",
    (
        "broch keycloak sign-out noor --url https://id.example.org --admin-password admin-password"
    ): "wants a Keycloak: test_oidc_setup.py",
    "broch migrate": "wants a database server: test_cli_migrate.py",
    (
        "broch packages add pypi lifelines 0.30.0 --project bone-age --why 'Survival curves.'"
    ): "wants a package route: test_cli_packages.py",
    "broch packages approve numpy@2.3.5 --project bone-age": "wants a package route: test_cli_packages.py",
    (
        "broch packages remove numpy@2.3.5 --reason 'A flaw was found.'"
    ): "wants a package route: test_cli_packages.py",
    "broch airlock certificate 01JD3W7Z --to certificate.json": "takes files whose time is over: test_cli_airlock.py",
    "broch airlock retry 01JD3W7Z": "takes a release that failed: test_cli_releases.py",
}


@pytest.fixture(scope="module")
def story(running: RunningBroch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Everything that docs/cli.md tells, told; then the other documents are tried on what it leaves."""
    place = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        told = Story(running, place / "person" / "work", patch)
        written = {"model.py": b"print(1)\n", "notes.txt": b"notes\n", "requirements.txt": REQUIREMENTS}
        for name, data in written.items():
            (told.folder / name).write_bytes(data)
        for name in ("hand-1.dcm", "hand-2.dcm", "thumbs.db"):
            (told.folder / "xrays").mkdir(exist_ok=True)
            (told.folder / "xrays" / name).write_bytes(name.encode() * 1000)
        results = told.zone("tumour-texture") / "results"
        results.mkdir()
        (results / "table.csv").write_bytes(TABLE)
        shutil.copyfile(PNG, results / "fit.png")
        for path in (
            results,
            *results.iterdir(),
        ):  # whoever runs the test, Broch's account must be able to read them
            path.chmod(0o755)
        used = set()
        for line in command_lines(CLI):
            if line in NOT_HERE:
                continue
            printed = told.run(line)
            for start in (start for start in SAID if line.startswith(start)):
                assert SAID[start] in printed, (line, printed)
                used.add(start)
        assert used == SAID.keys()
        yield told


def test_the_story_of_the_command_line_is_true(story: Story) -> None:
    assert (story.folder / "results" / "table.csv").read_bytes() == TABLE
    assert (story.folder / "results" / "fit.png").read_bytes() == PNG.read_bytes()
    assert (story.folder / "receipt.json").read_bytes() == (
        story.folder / "results" / "receipt.json"
    ).read_bytes()
    assert story.newest()["status"] == "recalled"


@pytest.mark.parametrize("document", ["docs/proof.md", "docs/demo.md"])
def test_receipts_are_checked_as_the_documents_say(story: Story, document: str) -> None:
    lines = [line for line in shown_inline(Path(document)) if " verify " in line]
    assert lines
    (story.folder / "plots").mkdir(exist_ok=True)
    shutil.copyfile(story.folder / "results" / "fit.png", story.folder / "plots" / "fit.png")
    table = story.folder / "table.csv"
    for line in lines:
        table.write_bytes(TABLE)
        assert "VERIFIED" in story.run(line)
        table.write_bytes(TABLE.replace(b"355", b"356"))
        assert "table.csv" in story.run(line, code=1)


def test_the_readme_is_checked_here_but_for_what_starts_and_tests_broch(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    lines = command_lines(Path("README.md"))
    started = {"./broch up", "./broch test"}  # the first is what `story` runs on, the second is this run
    assert started < set(lines)
    for line in lines:
        if line not in started:
            assert "VERIFIED" in story.run(line)
