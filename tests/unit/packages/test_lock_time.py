"""Lock files are strangers' files: reading the worst of them takes seconds, not a thread of web for half a minute."""

import pytest

from broch_workspaces.packages.locks import parse_lock
from support.busy import processor

SIZE = 890_000


def dotted(line: str, part: str) -> bytes:
    """Return TOML with lines as long as they may be, of one key each; `{}` in a line is its parts, `#` its number."""
    lines = [line.replace("{}", part * (19_000 // len(part))).replace("#", str(n)) for n in range(45)]
    return "\n".join(["version = 1", *lines]).encode()


def filled(head: str, entry: str, tail: str) -> bytes:
    """Return a JSON text of as many entries as there is room for; `{}` in one is its number."""
    entries, size = [], len(head)
    while size < SIZE:
        entries.append(entry.replace("{}", str(len(entries))))
        size += len(entries[-1]) + 1
    return (head + ",".join(entries) + tail).encode()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("package-lock.json", filled('{"lockfileVersion":3,"packages":{', '"\\u0061{}":0', "}}")),
        (
            "package-lock.json",
            filled('{"lockfileVersion":3,"packages":{', '"node_modules/\\u0061{}":0', "}}"),
        ),
        ("package-lock.json", filled('{"lockfileVersion":3,"packages":{"a":"', '\\"{}', '"}}')),
        ("renv.lock", filled('{"Packages":{', '"\\u0061{}":{"Source":"CRAN","Version":"1"}', "}}")),
        ("renv.lock", filled('{"Packages":{', '"\\u0061{}":0', "}}")),
        ("uv.lock", dotted("a#{} = 1", ".b")),
        ("uv.lock", dotted("[a#{}]", " . b")),
        ("uv.lock", dotted("a#{} = 1", ".'b'")),
        ("pylock.toml", dotted("a#{} = 1", '."\\""')),
        ("uv.lock", dotted("a#{} = 1", "b")),
        ("uv.lock", dotted("a#{}", '\\"')),
        ("uv.lock", dotted("a#{}", '"." ')),
        ("uv.lock", dotted("a#{}", "'b\"")),
        ("uv.lock", dotted("a# = '{}'", "b.")),
        ("uv.lock", "\n".join(["version = 1", *(f"a{n}{'.b' * 28} = 1" for n in range(13_000))]).encode()),
    ],
)
def test_a_file_of_many_small_entries_is_read_or_refused_in_seconds(name: str, data: bytes):
    with processor() as spent:
        lock = parse_lock(name, data)
    assert spent.seconds < 15, "2 s here; what this is about took 30 and more"
    assert lock.problems or lock.wanted


def test_an_address_with_many_dots_is_no_deep_key():
    address = "https://example.org/" + "a.b." * 10 + "whl"
    text = f"version = 1\n[[package]]\nname = 'a'\nversion = '1'\nsource = {{registry = '{address}'}}\n"
    assert [one.wanted.name for one in parse_lock("uv.lock", text.encode()).wanted] == ["a"]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        (
            "package-lock.json",
            (
                '{"lockfileVersion": 3, "packages": {\n"": {},\n"node_modules/a":\n{"version": "1.0.0"},\n'
                '"node_modules/\\u0062" : {"version": "2.0.0", "b\\\\": "node_modules/c\\":"},\n'
                '"node_modules/c": {"version": "3.0.0"}}}'
            ),
            {"a": 3, "b": 5, "c": 6},
        ),
        (
            "renv.lock",
            (
                '{"Packages": {\n"A": {"Package": "A", "Version": "1", "Source": "CRAN"},\n\n'
                '"B": {"Package": "B", "Version": "1", "Source": "CRAN"}}}'
            ),
            {"A": 2, "B": 4},
        ),
    ],
)
def test_entries_are_told_by_their_lines(name: str, text: str, lines: dict[str, int]):
    assert {one.wanted.name: one.line for one in parse_lock(name, text.encode()).wanted} == lines
