"""RFC 8785, and JSON that is read strictly."""

import json
import math
from enum import IntEnum, StrEnum

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from broch_core.proof.canonical import canonical
from broch_core.proof.encoding import from_base64, moment, read_json
from broch_core.proof.errors import Malformed, NotCanonical
from support.counts import count

INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def test_the_example_of_the_rfc_has_its_published_form():
    value = json.loads(
        '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}'
    )
    # RFC 8785 3.2.3
    published = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(value).decode() == published


ASCII = st.text(st.characters(max_codepoint=127), max_size=8)
SIMPLE = st.recursive(
    st.none() | st.booleans() | INTEGERS | ASCII,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ASCII, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=count("canonical JSON by the fast way", ci=300, nightly=20_000), deadline=None)
@given(SIMPLE)
def test_the_fast_way_for_ascii_writes_what_the_reference_writes(value):
    assert canonical(value) == rfc8785.dumps(value)


def test_keys_are_sorted_by_utf_16_code_units():
    # RFC 8785 3.2.3: U+1F600 (a surrogate pair, D83D DE00) comes before U+FB33.
    value = {"\ufb33": 1, "\U0001f600": 2, "\u20ac": 3, "1": 4, "\r": 5}
    assert canonical(value).decode() == '{"\\r":5,"1":4,"\u20ac":3,"\U0001f600":2,"\ufb33":1}'


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        {1: 2},
        {None: 1},
        "\ud800",
        {"\udfff": 1},
        b"x",
        {1},
        object(),
    ],
    ids=lambda value: "object" if type(value) is object else repr(value),
)
def test_a_value_without_canonical_form_is_refused(value):
    for holder in (value, [value], {"a": {"b": value}}):
        with pytest.raises(NotCanonical):
            canonical(holder)


def test_nesting_without_end_is_refused():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotCanonical):
        canonical(value)


def test_enumerations_are_written_as_their_values():
    class Word(StrEnum):
        ONE = "one"

    class Number(IntEnum):
        TWO = 2

    assert canonical({Word.ONE: (Word.ONE, Number.TWO, True)}) == b'{"one":["one",2,true]}'


@given(VALUES)
@settings(max_examples=count("canonical JSON: read back", ci=60, nightly=3000), deadline=None)
def test_what_is_written_is_read_back_and_written_the_same(value):
    data = canonical(value)
    assert read_json(data, what="It", limit=1 << 20) == value
    assert canonical(json.loads(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1,"a":1}', b'{"a":{"b":1,"\\u0062":2}}', b"1.0", b"1e5", b"NaN", b"-Infinity", b"9007199254740992",
        b"9" * 5000, b"-0", b'"\\ud800"', b'{"\\udc00":1}', b"\xff", b"\xef\xbb\xbf{}", b"", b"{}x", b"'a'",
        b"[" * 100_000, b" " * 2000,
    ],
    ids=lambda data: repr(data[:20]),
)  # fmt: skip
def test_json_that_readers_do_not_agree_on_is_refused(data):
    with pytest.raises(Malformed):
        read_json(data, what="It", limit=1000 if data.startswith(b" ") else 1 << 20)


def test_plain_json_is_read():
    assert read_json(b'{"a": [1, -2, 9007199254740991, "\\ud83d\\ude00", null]}', what="It", limit=100) == {
        "a": [1, -2, 2**53 - 1, "\U0001f600", None]
    }


@pytest.mark.parametrize("text", ["QQ", "QR==", "QQ==\n", " QQ==", "_w==", "QQ==QQ==", "Q", None, "é"])
def test_base64_has_one_spelling(text):
    assert from_base64("QQ==", what="It") == b"A"
    with pytest.raises(Malformed):
        from_base64(text, what="It")


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T12:00:00", "2026-03-01T12:00:00+00:00", "2026-02-30T12:00:00Z", "2026-03-01 12:00:00Z", "2026-03-01T12:00:00.1Z",
     "2026-03-01T24:00:01Z", "2026-03-01T12:00:00Z\n", "\u0662026-03-01T12:00:00Z", 5],
)  # fmt: skip
def test_a_time_is_rfc_3339_in_utc(text):
    assert moment("2026-03-01T12:00:00.123Z", what="It").microsecond == 123000
    with pytest.raises(Malformed):
        moment(text, what="It")
