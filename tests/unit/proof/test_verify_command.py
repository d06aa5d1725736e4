"""The command that checks a receipt, and the checks by hand of the documentation."""

import base64
import copy
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from broch_core.proof import Purpose, run_verify
from unit.proof.release_world import FILES, World, make_statement

ROOT = Path(__file__).parents[3]
WORLD = World()
RECEIPT = WORLD.release()
VALUE = json.loads(RECEIPT)


def changed(change):
    value = copy.deepcopy(VALUE)
    change(value)
    return value


@pytest.fixture
def place(tmp_path):
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "receipt.json").write_bytes(RECEIPT)
    (tmp_path / "trust.json").write_bytes(WORLD.trust().dump())
    return tmp_path


def run(place, *files: str, receipt="receipt.json", trust="trust.json", **more):
    code, lines = run_verify(place / trust, place / receipt, [place / file for file in files], **more)
    return code, "\n".join(lines)


def test_the_command_says_yes_and_after_one_flipped_byte_no_and_why(place):
    code, text = run(place, "table.csv", "plots/fit.png")
    assert (code, text.splitlines()[-1]) == (0, "VERIFIED")
    (place / "table.csv").write_bytes(b"a,b\n1,3\n")
    code, text = run(place, "table.csv", "plots/fit.png")
    assert (code, text.splitlines()[-1]) == (1, "NOT VERIFIED")
    assert "file table.csv: the bytes differ" in text


def test_input_that_cannot_be_used_is_told_apart_from_a_no(place):
    (place / "broken.json").write_bytes(b"{}")
    os.mkfifo(place / "pipe")
    assert run(place)[0] == 2
    assert run(place, "none.csv")[0] == 2
    assert run(place, "plots")[0] == 2
    assert run(place, "pipe")[0] == 2
    assert run(place, "table.csv", trust="broken.json")[0] == 2
    assert run(place, "table.csv", trust="none.json")[0] == 2
    assert run(place, "table.csv", receipt="none.json")[0] == 2
    assert run(place, "table.csv", newer_checkpoint=place / "none")[0] == 2
    assert run(place, "table.csv", receipt="broken.json")[0] == 1
    (place / "newer").write_text(WORLD.checkpoint())
    assert run(place, "table.csv", newer_checkpoint=place / "newer")[0] == 0


def test_names_from_outside_cannot_steer_a_terminal(place):
    (place / "a\x1b[2J\u202e.csv").write_bytes(b"x")
    code, text = run(place, "a\x1b[2J\u202e.csv")
    assert code == 1
    assert all(line.isprintable() for line in text.splitlines())


def test_a_large_file_is_read_in_constant_memory(place):
    with (place / "table.csv").open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    code, _ = run(place, "table.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 1
    assert peak < 8 << 20


def test_checking_loads_neither_server_nor_network():
    program = (
        "import sys, broch_core.proof\n"
        "bad = {'sqlalchemy', 'sqlmodel', 'fastapi', 'pydantic', 'httpx', 'socket', 'ssl', 'asyncio', 'ulid'} & sys.modules.keys()\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def documented(fence):
    """The commands of docs/proof.md under a heading of their own."""
    text = (ROOT / "docs/proof.md").read_text()
    return text.split(f"```{fence}\n")[1].split("```")[0]


def test_the_documented_commands_verify_the_signature_with_openssl_alone(place):
    script = documented("sh signature")
    assert len(script.strip().replace("\\\n", "").splitlines()) == 3
    command = ["sh", "-e", "-c", script]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, "Verified Successfully" in done.stdout) == (0, True), done.stderr
    payload = make_statement(project_id="01OTHER").payload()
    (place / "receipt.json").write_text(
        json.dumps(
            changed(lambda value: value["envelope"].update(payload=base64.b64encode(payload).decode()))
        )
    )
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Verified Successfully" not in done.stdout


def test_the_documented_library_of_others_verifies_the_envelope(place):
    program = documented("python securesystemslib")
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    key_id = json.loads((place / "receipt.json").read_text())["envelope"]["signatures"][0]["keyid"]
    assert (done.returncode, done.stdout.strip()) == (0, key_id), done.stderr
    payload = make_statement(project_id="01OTHER").payload()
    (place / "receipt.json").write_text(
        json.dumps(
            changed(lambda value: value["envelope"].update(payload=base64.b64encode(payload).decode()))
        )
    )
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "VerificationError" in done.stderr


def test_the_documented_program_finds_the_root_by_hand(place):
    program = documented("python inclusion")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    (place / "receipt.json").write_text(
        json.dumps(changed(lambda value: value.update(leaf=value["leaf"] + " ")))
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "False"


def test_the_trust_file_in_the_documentation_names_every_field():
    text = (ROOT / "docs/proof.md").read_text()
    for name in ("purpose", "key_id", "public_key", "not_before", "not_after", *VALUE, *VALUE["inclusion"]):
        assert f"`{name}`" in text, name
    assert set(Purpose) == {"statement", "checkpoint"}
