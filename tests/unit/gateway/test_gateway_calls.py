"""What a zone may ask: the list, and everything that looks like it."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_workspaces.gateway.calls import LONGEST_TARGET, Account, Upstream, find_call, plain_name
from support.counts import count

ID = "01M8PKCG5HG5K11JS54ZY5PNE8"
PRINCIPAL = "wxlhqiqy3vlrgf4elv4wu5szui"
DOOR = [
    ("POST", "/door/v1/drafts"),
    ("PUT", f"/door/v1/drafts/{ID}/files/table.csv"),
    ("PUT", f"/door/v1/drafts/{ID}/files/Table%20%C3%A9%20%28final%29.csv"),
    ("GET", "/door/v1/requests"),
    ("GET", "/door/v1/requests?limit=20"),
    ("GET", f"/door/v1/requests?before={ID}"),
    ("GET", f"/door/v1/requests?before={ID}&limit=100"),
    ("GET", "/door/v1/imports"),
]
HUB = [
    ("GET", "/hub/api"),
    ("GET", "/hub/api/"),
    ("GET", "/hub/api/user"),
    ("POST", "/hub/api/oauth2/token"),
    ("POST", f"/hub/api/users/{PRINCIPAL}/activity"),
]
DELIVERY = ("GET", f"/door/v1/deliveries/{ID}")
LISTED = [*DOOR, *HUB, DELIVERY]


@pytest.mark.parametrize("listed", LISTED, ids=" ".join)
def test_what_is_listed_goes_to_the_one_who_answers_it(listed):
    call = find_call(*listed)
    assert call is not None
    assert call.upstream is (Upstream.HUB if listed in HUB else Upstream.DOOR)
    assert call.account is (
        None if listed in HUB else Account.IMPORTER if listed == DELIVERY else Account.WORKSPACE
    )


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "*",
        "//door/v1/imports",
        "/door/v1/imports/",
        "/door/v1/imports?",
        "/door/v1/imports?a=b",
        "/door/v1/imports#x",
        "/door/v1//imports",
        "/door/v1/./imports",
        "/door/v1/x/../imports",
        "/door/v1/%69mports",
        "/door%2Fv1/imports",
        "/Door/v1/imports",
        "/door/v1/imports;x",
        "/door/v1/imports\n",
        "http://broch-web:8445/door/v1/imports",
        "broch-web:8445",
        "/door/v1/requests?limit=1&before=" + ID,
        "/door/v1/requests?limit=1&limit=2",
        "/door/v1/requests?limit=1%30",
        f"/door/v1/deliveries/{ID.lower()}",
        f"/door/v1/deliveries/{ID}/",
        f"/door/v1/drafts/{ID}/files/",
        f"/door/v1/drafts/{ID}/files/..",
        f"/door/v1/drafts/{ID}/files/.",
        f"/door/v1/drafts/{ID}/files/%2E%2E",
        f"/door/v1/drafts/{ID}/files/a%2Fb",
        f"/door/v1/drafts/{ID}/files/a%2fb",
        f"/door/v1/drafts/{ID}/files/a%5Cb",
        f"/door/v1/drafts/{ID}/files/a%00b",
        f"/door/v1/drafts/{ID}/files/a%0D%0Ab",
        f"/door/v1/drafts/{ID}/files/a%E2%80%AEb",
        f"/door/v1/drafts/{ID}/files/%C0%AE",
        f"/door/v1/drafts/{ID}/files/%61",
        f"/door/v1/drafts/{ID}/files/%c3%a9",
        f"/door/v1/drafts/{ID}/files/a+b",
        f"/door/v1/drafts/{ID}/files/é",
        f"/door/v1/drafts/{ID}/files/a/b",
        f"/door/v1/drafts/{ID}/submit",
        f"/door/v1/drafts/{'n' * 26}/files/a",
        f"/door/v1/drafts/{ID}/files/{'n' * 256}",
        f"/door/v1/drafts/{ID}/files/{quote('é' * 128, safe='')}",
        "/hub/api/users",
        "/hub/api/user?x",
        "/hub/api/user/",
        "/hub/login",
        f"/hub/api/users/{PRINCIPAL}/server",
        f"/hub/api/users/{PRINCIPAL}/tokens",
        f"/hub/api/users/{PRINCIPAL}/../activity",
        "/hub/api/users/../activity",
        "/hub/api/users/admin/activity",
        "/internal/v1/zones",
        "/api/v1/projects",
        "/healthz",
        "/metrics",
    ],
)
def test_what_only_looks_like_it_is_on_no_list(path):
    assert all(find_call(method, path) is None for method in ("GET", "PUT", "POST", "HEAD", "DELETE"))


@pytest.mark.parametrize("listed", LISTED, ids=" ".join)
def test_a_method_is_part_of_the_call(listed):
    method, path = listed
    others = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", method.lower()}
    assert [other for other in others - {method} if find_call(other, path)] == []


_PIECES = st.one_of(
    st.sampled_from(
        [
            *(
                "/",
                "//",
                "/./",
                "/../",
                "..",
                ".",
                "%2F",
                "%2f",
                "%2E%2E",
                "%00",
                "%0a",
                "\\",
                ";",
                "?",
                "#",
                "&",
            ),
            *(
                "%25",
                "%252e",
                "@",
                ":",
                "http://",
                "door",
                "v1",
                "hub",
                "api",
                "drafts",
                "files",
                "deliveries",
            ),
            *("internal", "DOOR", "user", "\x00", "\r\n", "é", "\u202e", " ", ID, PRINCIPAL),
        ]
    ),
    st.text(alphabet=string.printable, max_size=4),
)


@st.composite
def _bent(draw):
    """Return a listed target with something put into it, taken out of it, or said in another way."""
    method, target = draw(st.sampled_from(LISTED))
    at = draw(st.integers(0, len(target)))
    way = draw(st.sampled_from(["insert", "cut", "encode", "case", "append", "made"]))
    if way == "insert":
        target = target[:at] + draw(_PIECES) + target[at:]
    elif way == "cut":
        target = target[:at] + target[at + draw(st.integers(1, 3)) :]
    elif way == "encode" and at < len(target):
        target = target[:at] + f"%{ord(target[at]):02X}" + target[at + 1 :]
    elif way == "case":
        target = target[:at] + target[at:].swapcase()
    elif way == "append":
        target += "".join(draw(st.lists(_PIECES, max_size=4)))
    else:
        target = "/" + "".join(draw(st.lists(_PIECES, max_size=8)))
    return method, target


BENT = count("no bent path is on the gateway's list", ci=3000, nightly=300_000)


@settings(max_examples=BENT, deadline=None)
@given(bent=_bent())
def test_no_bent_path_is_on_the_list(bent):
    method, target = bent
    call = find_call(method, target)
    if call is None:
        return
    # What is still let through is a listed call, letter by letter, with another file, id or page.
    path, _, query = target.partition("?")
    parts = path.split("/")
    assert len(target) <= LONGEST_TARGET
    assert target.isascii()
    assert target.isprintable()
    assert ".." not in parts
    assert "//" not in path
    if len(parts) == 7:
        assert parts[:4] == ["", "door", "v1", "drafts"]
        assert plain_name(parts[6])
    else:
        assert "%" not in path
    assert not query or parts[3] == "requests"


NAMES = count("every file name that the door takes has its way through the gateway", ci=500, nightly=20_000)


@settings(max_examples=NAMES, deadline=None)
@given(name=st.text(min_size=1, max_size=80))
def test_a_plain_name_passes_however_foreign(name):
    fits = name.isprintable() and name not in (".", "..") and not set(name) & set("/\\")
    try:
        segment = quote(name, safe="")
    except UnicodeEncodeError:
        return
    wanted = fits and len(name.encode()) <= 255
    assert (find_call("PUT", f"/door/v1/drafts/{ID}/files/{segment}") is not None) is wanted
