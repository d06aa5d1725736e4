"""Keys, envelopes, notes, checkpoints, trust files."""

import base64
import json
import os
import stat
from datetime import timedelta

import pytest

from broch_core.proof import (
    BadSignature,
    Checkpoint,
    Envelope,
    KeyFolder,
    KeyUnavailable,
    Malformed,
    Note,
    Purpose,
    TrustFile,
    VerifierKey,
    sign_checkpoint,
    sign_envelope,
    verify_checkpoint,
    verify_envelope,
)
from broch_core.proof.dsse import pae
from unit.proof.release_world import NOW, ORIGIN, World, make_signer

HOUR = timedelta(hours=1)


# DSSE


def test_the_pre_authentication_encoding_is_that_of_the_specification():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_an_envelope_signed_by_several_keys_needs_one_that_is_trusted():
    one, two, stranger = (make_signer("statement", seed) for seed in (1, 3, 4))
    envelope = Envelope.parse(sign_envelope(b"{}", [stranger, two]).dump())
    assert verify_envelope(envelope, [one.key, two.key]) == (two.key,)
    with pytest.raises(BadSignature, match="No key"):
        verify_envelope(envelope, [one.key])


def test_a_bad_signature_of_a_trusted_key_is_not_made_up_for_by_a_good_one():
    one, two = make_signer("statement", 1), make_signer("statement", 3)
    good = sign_envelope(b"{}", [one, two])
    (first, sig), second = good.signatures
    bad = Envelope(good.payload, good.payload_type, ((first, sig[::-1]), second))
    assert len(verify_envelope(good, [one.key, two.key])) == 2
    with pytest.raises(BadSignature):
        verify_envelope(bad, [one.key, two.key])


def test_keys_sign_for_their_purpose_alone():
    statement, checkpoint = make_signer("statement"), make_signer("checkpoint")
    head = Checkpoint(ORIGIN, 1, b"r" * 32)
    for call in (
        lambda: sign_envelope(b"{}", [checkpoint]),
        lambda: sign_envelope(b"{}", []),
        lambda: sign_checkpoint(head, [statement]),
        lambda: sign_checkpoint(head, []),
        lambda: verify_envelope(Envelope(b"{}", "text/plain", ()), [statement.key]),
    ):
        with pytest.raises(BadSignature):
            call()
    forged = Envelope(
        b"{}", "application/vnd.in-toto+json",
        ((checkpoint.key.key_id, checkpoint.sign(pae("application/vnd.in-toto+json", b"{}"))),),
    )  # fmt: skip
    with pytest.raises(BadSignature, match="which is for checkpoints"):
        verify_envelope(forged, [statement.key, checkpoint.key])
    note = Note(
        head.text(),
        (
            (
                ORIGIN,
                VerifierKey(ORIGIN, statement.key.public_key).key_hash,
                statement.sign(head.text().encode()),
            ),
        ),
    )
    with pytest.raises(BadSignature):
        verify_checkpoint(note.dump(), ORIGIN, [statement.key, checkpoint.key])


def test_an_envelope_has_one_form():
    good = sign_envelope(b"{}", [make_signer("statement")]).dump()
    assert Envelope.parse(good).payload == b"{}"
    signature = good["signatures"][0]
    for change in (
        {"extra": 1}, {"payload": "e30"}, {"payload": None}, {"payloadType": 5}, {"signatures": []},
        {"signatures": [signature, signature]}, {"signatures": [signature] * 17}, {"signatures": [signature | {"cert": ""}]},
        {"signatures": {}}, {"signatures": ["x"]}, {"signatures": [{"sig": signature["sig"]}]},
    ):  # fmt: skip
        with pytest.raises(Malformed):
            Envelope.parse(good | change)


# Notes and checkpoints

# The examples of the specifications C2SP tlog-checkpoint and of golang.org/x/mod/sumdb/note.
SPECIFIED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_checkpoint_of_the_specification_is_read_and_written_the_same():
    note = Note.parse(SPECIFIED)
    head = Checkpoint.parse(note.text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert head.text() == note.text
    assert note.dump() == SPECIFIED


def test_the_note_of_the_go_package_verifies():
    key = VerifierKey.parse(GO_KEY)
    assert str(key) == GO_KEY
    note = Note.parse(GO_NOTE)
    (name, tag, signature), *_ = note.signatures
    assert (name, tag) == (key.name, key.key_hash)
    trusted = make_signer("checkpoint").key.__class__(Purpose.CHECKPOINT, key.public_key, NOW)
    trusted.verify(signature, note.text.encode())
    with pytest.raises(BadSignature):
        trusted.verify(signature, note.text.encode() + b"x")


def test_a_checkpoint_is_verified_and_other_signatures_are_passed_over():
    world = World()
    world.grow(3)
    witness = f"\u2014 witness.example {base64.b64encode(b'w' * 90).decode()}\n"
    head, signed = verify_checkpoint(world.checkpoint() + witness, ORIGIN, world.trust().keys)
    assert head == Checkpoint(ORIGIN, 3, world.tree.root())
    assert signed == (world.checkpoint_signer.key,)


def test_a_checkpoint_of_another_log_or_key_is_refused():
    world = World()
    world.grow(3)
    key = world.checkpoint_signer.key
    verify_checkpoint(world.checkpoint(), ORIGIN, [key])
    other = Note.parse(world.checkpoint("other.example"))
    tag = VerifierKey(ORIGIN, key.public_key).key_hash
    renamed = Note(other.text, ((ORIGIN, tag, other.signatures[0][2]),)).dump()
    for note, keys in (
        (world.checkpoint("other.example"), [key]),
        (renamed, [key]),
        (world.checkpoint(), [make_signer("checkpoint", 9).key]),
        (world.checkpoint().replace("\n3\n", "\n4\n"), [key]),
    ):
        with pytest.raises(BadSignature):
            verify_checkpoint(note, ORIGIN, keys)


def test_a_note_has_one_form():
    world = World()
    world.grow(3)
    good = world.checkpoint()
    line = good.split("\n\n")[1]
    assert Note.parse(good).dump() == good
    for bad in (
        "", "\n\n", good[:-1], good + "\n", good + "text\n", good.replace("\u2014", "-"), good.replace("\u2014 ", "\u2014"),
        good + line, good.replace("\n", "\r\n"), good.replace("\n\n", "\n"), good[:-2] + "\n", good.replace("3", "\x003"),
        good + line.replace("=\n", "=\n\ud800"), "x" * 300_000 + good, good + "\u2014 a+b QUJDREVG\n", good + "\u2014 a QUJD\n",
        good + "".join(f"\u2014 w{n} QUJDREVG\n" for n in range(64)),
    ):  # fmt: skip
        with pytest.raises(Malformed):
            Note.parse(bad)


@pytest.mark.parametrize(
    "text",
    [
        "o\n03\nROOT\n", "o\n-1\nROOT\n", "o\n+3\nROOT\n", "o\n3 \nROOT\n", "o\n3\nROOT\nextension\n", "o\n3\nQUJD\n",
        "o\n3\nROOT", "o o\n3\nROOT\n", "\n3\nROOT\n", "o\n0\nROOT\n", "o\n\u0663\nROOT\n", "o\n" + "9" * 17 + "\nROOT\n",
    ],
)  # fmt: skip
def test_the_text_of_a_checkpoint_has_one_form(text):
    root = base64.b64encode(b"r" * 32).decode()
    assert Checkpoint.parse(f"o\n3\n{root}\n").size == 3
    with pytest.raises(Malformed):
        Checkpoint.parse(text.replace("ROOT", root))


@pytest.mark.parametrize(
    "text",
    [
        GO_KEY.replace("c74f20a3", "c74f20a4"),
        GO_KEY.replace("Peter", "Petra"),
        GO_KEY[:-4],
        "a+b",
        "a+00000000+AgAA",
        GO_KEY + "\n",
    ],
)
def test_a_verifier_key_has_one_form(text):
    with pytest.raises(Malformed):
        VerifierKey.parse(text)


# Trust files


def test_a_trust_file_is_read_back():
    old = make_signer("statement", 5, start=NOW - 9 * HOUR, end=NOW)
    trust = TrustFile(ORIGIN, (*World().trust().keys, old.key))
    assert TrustFile.parse(trust.dump()) == trust
    assert trust.of(Purpose.CHECKPOINT) == (make_signer("checkpoint").key,)


def test_a_trust_file_has_one_form():
    good = json.loads(World().trust().dump())
    key = good["keys"][0]
    rsa = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ=="
    changes = [
        {"version": "v2"}, {"origin": ""}, {"origin": "a b"}, {"origin": "a+b"}, {"keys": []}, {"keys": [key, key]},
        {"keys": [key, key | {"purpose": "checkpoint"}]}, {"extra": 1},
        *[
            {"keys": [key | change]}
            for change in (
                {"purpose": "fingerprint"}, {"key_id": "0" * 64}, {"public_key": "QUJD"}, {"public_key": rsa}, {"extra": 1},
                {"not_before": "yesterday"}, {"not_after": key["not_before"]}, {"not_before": None},
            )
        ],
    ]  # fmt: skip
    TrustFile.parse(json.dumps(good).encode())
    for change in changes:
        with pytest.raises(Malformed):
            TrustFile.parse(json.dumps(good | change).encode())


# Key folders


@pytest.fixture
def folder(tmp_path):
    keys = KeyFolder(tmp_path / "keys", ORIGIN)
    keys.create(NOW)
    return keys


def pems(keys, purpose="statement"):
    return sorted(keys.folder.glob(f"{purpose}-*.pem"))


def test_a_new_folder_has_a_key_for_each_purpose_and_nobody_else_can_read_it(folder):
    assert {key.purpose for key in folder.trust().keys} == set(Purpose)
    assert stat.S_IMODE(folder.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.folder.iterdir()} == {0o600}
    signer = folder.signer(Purpose.STATEMENT, NOW)
    verify_envelope(sign_envelope(b"{}", [signer]), folder.trust().keys)


def test_making_the_folder_again_keeps_the_keys(folder):
    before = folder.trust()
    folder.create(NOW + HOUR)
    assert KeyFolder(folder.folder, ORIGIN).trust() == before


def test_rotation_keeps_the_old_key_listed_with_its_end(folder):
    old = folder.signer(Purpose.STATEMENT, NOW).key
    later = NOW + 10 * HOUR
    new = folder.rotate(Purpose.STATEMENT, later)
    listed = {key.key_id: key for key in folder.trust().keys}
    assert len(listed) == 3
    assert listed[old.key_id].not_after == later + HOUR
    assert folder.signer(Purpose.STATEMENT, later).key == new
    # A release that began just before the rotation can still be signed with the key of its time.
    assert folder.signer(Purpose.STATEMENT, later - timedelta(seconds=1)).key.key_id == old.key_id


def test_a_private_key_is_deleted_when_its_period_is_over(folder):
    old = folder.signer(Purpose.STATEMENT, NOW).key
    folder.rotate(Purpose.STATEMENT, NOW + 10 * HOUR, overlap=timedelta(0))
    assert len(pems(folder)) == 1
    assert old.key_id in {key.key_id for key in folder.trust().keys}
    with pytest.raises(KeyUnavailable, match="is missing"):
        folder.signer(Purpose.STATEMENT, NOW)
    assert len(pems(folder, "checkpoint")) == 1


def test_there_is_no_key_for_a_time_before_the_first(folder):
    with pytest.raises(KeyUnavailable, match="valid at"):
        folder.signer(Purpose.STATEMENT, NOW - HOUR)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_use_is_refused_with_the_remedy(folder, mode):
    path = pems(folder)[0]
    path.chmod(mode)
    with pytest.raises(KeyUnavailable, match=f"chmod 0600 {path}"):
        folder.signer(Purpose.STATEMENT, NOW)
    path.chmod(0o600)
    folder.signer(Purpose.STATEMENT, NOW)


def test_a_folder_or_list_that_others_can_use_is_refused(folder):
    for path, mode in ((folder.folder, 0o700), (folder.folder / "keys.json", 0o600)):
        path.chmod(mode | 0o050)
        with pytest.raises(KeyUnavailable, match="others could use it"):
            folder.trust()
        path.chmod(mode)
        folder.trust()


def test_links_pipes_and_second_names_are_refused(folder, tmp_path):
    path = pems(folder)[0]
    aside = tmp_path / "aside.pem"
    os.link(path, aside)
    with pytest.raises(KeyUnavailable, match="second name"):
        folder.signer(Purpose.STATEMENT, NOW)
    path.unlink()
    path.symlink_to(aside)
    with pytest.raises(KeyUnavailable, match="cannot be opened"):
        folder.signer(Purpose.STATEMENT, NOW)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyUnavailable, match="plain file"):
        folder.signer(Purpose.STATEMENT, NOW)
    (tmp_path / "link").symlink_to(folder.folder)
    with pytest.raises(KeyUnavailable, match="not a folder"):
        KeyFolder(tmp_path / "link", ORIGIN).trust()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_key_file_of_another_user_is_refused(folder):
    os.chown(pems(folder)[0], 65534, -1)
    with pytest.raises(KeyUnavailable, match="belongs to user 65534"):
        folder.signer(Purpose.STATEMENT, NOW)


def test_a_private_key_that_is_not_the_listed_one_is_refused(folder):
    statement, checkpoint = pems(folder)[0], pems(folder, "checkpoint")[0]
    statement.write_bytes(checkpoint.read_bytes())
    with pytest.raises(KeyUnavailable, match="another public key"):
        folder.signer(Purpose.STATEMENT, NOW)
    statement.write_bytes(b"no key")
    with pytest.raises(KeyUnavailable, match="no private key"):
        folder.signer(Purpose.STATEMENT, NOW)


def test_keys_of_another_log_are_refused(folder):
    with pytest.raises(KeyUnavailable, match="not other"):
        KeyFolder(folder.folder, "other.example").trust()


def test_a_folder_that_is_not_there_has_no_keys(tmp_path):
    with pytest.raises(KeyUnavailable, match="no key folder"):
        KeyFolder(tmp_path / "none", ORIGIN).signer(Purpose.STATEMENT, NOW)
