"""Which server the hub speaks to: the one whose certificate it made itself, at the address where its pod is now."""

import hashlib
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from broch_spawner.peers import Peers, UnknownPeer, new_identity

HERE = "https://10.0.0.7:8888"


def test_each_start_has_a_key_of_its_own_and_the_pin_is_of_its_certificate(tmp_path):
    one, other = new_identity("wa"), new_identity("wa")
    assert one.key != other.key
    assert one.pin != other.pin
    certificate = x509.load_pem_x509_certificate(one.certificate.encode())
    assert hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest() == one.pin
    told = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    key = load_pem_private_key(one.key.encode(), None)
    assert key.public_key().public_bytes(*told) == certificate.public_key().public_bytes(*told)
    pair = tmp_path / "pair.pem"
    pair.write_text(one.key + one.certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(pair)
    assert one.key not in repr(one)


def test_an_address_of_which_nothing_is_known_is_not_spoken_to():
    peers = Peers()
    with pytest.raises(UnknownPeer):
        peers.pin(f"{HERE}/user/w/api")
    peers.expect(HERE, new_identity("wa").pin)
    with pytest.raises(UnknownPeer):
        peers.pin("https://10.0.0.8:8888/")
    with pytest.raises(UnknownPeer):
        peers.pin("https://10.0.0.7/")
    assert peers.pin("http+unix://%2Frun%2Flab.sock") is True


@pytest.mark.parametrize("pin", ["", "x" * 64, "0" * 63, "0" * 64 + "\n"])
def test_what_is_no_pin_is_not_taken_for_one(pin):
    with pytest.raises(UnknownPeer):
        Peers().expect(HERE, pin)


def test_an_address_that_has_become_another_pod_s_is_not_forgotten_with_the_first():
    peers, first, second = Peers(), new_identity("wa").pin, new_identity("wb").pin
    peers.expect(HERE, first)
    peers.expect(HERE, second)
    peers.forget(first)
    assert peers.pin(HERE).fingerprint.hex() == second
    peers.forget(second)
    with pytest.raises(UnknownPeer):
        peers.pin(HERE)
    peers.forget("")
