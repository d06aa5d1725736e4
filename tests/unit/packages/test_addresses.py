"""Which addresses a connection may lead to."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broch_core.errors import DomainError
from broch_workspaces.packages.addresses import outside
from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.outside import checked_url

INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:0a00:0001::",
    "2002:0808:0808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "",
    "localhost",
    "1.2.3",
    "0x7f.1",
    "2130706433",
    "8.8.8.8 ",
    "08.8.8.8",
]
OUTSIDE = [
    "8.8.8.8",
    "1.1.1.1",
    "151.101.0.223",
    "100.63.255.255",
    "172.32.0.1",
    "2606:4700::6810:1",
    "2a04:4e42::223",
]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_routed_everywhere_is_not_connected_to(address):
    assert not outside(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_routed_everywhere_is(address):
    assert outside(address)


def test_a_network_that_is_named_is_connected_to_and_no_other():
    named = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32")]
    assert outside("10.1.2.3", named)
    assert outside("fd00:1::5", named)
    assert outside("8.8.8.8", named)
    assert not outside("10.2.0.1", named)
    assert not outside("::ffff:10.1.2.3", named)
    assert not outside("fd00:2::5", named)


@given(st.ip_addresses())
def test_nothing_private_of_any_kind_is_outside(address):
    if address.is_private or address.is_multicast or address.is_reserved or address.is_loopback:
        assert not outside(str(address))


HOSTS = {"pypi.example", "mirror.example:8443"}


@pytest.mark.parametrize(
    "url", ["https://pypi.example/x", "https://PYPI.example:443/x?y", "https://mirror.example:8443/"]
)
def test_a_known_host_may_be_asked(url):
    assert checked_url(url, HOSTS).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "http://pypi.example/x",
        "https://pypi.example:8443/x",
        "https://mirror.example/x",
        "https://pypi.example@evil.example/",
        "https://a:b@pypi.example/",
        "https://a@pypi.example/",
        "https://pypi.example.evil.example/",
        "https://evil.example/pypi.example",
        "https://pypi.example./x",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[pypi.example/",
        "https://pypi.example:99999/",
        "//pypi.example/x",
        "/x",
        "",
        "ftp://pypi.example/",
        "javascript:alert(1)",
        "https://pypi.example/a\r\nHost: evil.example",
        "https://pypi.example/a b",
        "https://pypi.example/\x00",
    ],
)
def test_any_other_address_may_not(url):
    with pytest.raises(RegistryRefused):
        checked_url(url, HOSTS)


@given(st.text(max_size=80))
def test_no_text_of_a_registry_is_more_than_refused(text):
    try:
        url = checked_url(text, HOSTS)
    except DomainError:
        return
    assert (url.host or "").lower() in {"pypi.example", "mirror.example"}
