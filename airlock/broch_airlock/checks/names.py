"""Path hygiene: which names may cross the boundary. Pure; intake refuses by the same rules that the check reports."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from broch_airlock.checks.model import Finding, Verdict, display

CHECK = "path_hygiene"
ENGINE = "broch names 1"
NAME_LONGEST = 255
"""Bytes in UTF-8 of one name (NAME_MAX on Linux)."""
PATH_LONGEST = 4096
"""Bytes in UTF-8 of one member path (PATH_MAX on Linux)."""

_BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?$")
_WINDOWS = set('<>:"|?*')


_ODD = {"Cc", "Cf", "Co", "Cn", "Zl", "Zp"}
_RULES: tuple[tuple[str, Callable[[str], object], str], ...] = (
    ("nul", lambda name: "\0" in name, "The name holds a NUL character."),
    ("separator", lambda name: "/" in name or "\\" in name, "The name holds a path separator (/ or \\)."),
    (
        "bidi",
        lambda name: _BIDI & set(name),
        "The name holds a character that turns the reading direction: it would show as another name.",
    ),
    (
        "encoding",
        # Web servers put U+FFFD where the bytes of an address were no UTF-8: that is not the name that was sent.
        lambda name: "Cs" in _categories(name) or "\N{REPLACEMENT CHARACTER}" in name,
        "The name is not valid UTF-8.",
    ),
    ("control", lambda name: _ODD & _categories(name), "The name holds a control or invisible character."),
    (
        "space",
        lambda name: any(unicodedata.category(char) == "Zs" and char != " " for char in name),
        "The name holds a space that is not the plain one.",
    ),
    ("trailing", lambda name: name[-1] in " .", "The name ends in a space or a dot: some systems drop it."),
    ("leading-space", lambda name: name[0] == " ", "The name begins with a space."),
    (
        "leading-dash",
        lambda name: name[0] == "-",
        "The name begins with a dash: programs take it for an option.",
    ),
    ("hidden", lambda name: name[0] == ".", "The name begins with a dot: such files are hidden."),
    ("reserved", _DEVICES.match, "The name is reserved for a device on Windows."),
    (
        "reserved-character",
        lambda name: _WINDOWS & set(name),
        'The name holds one of < > : " | ? *, which Windows cannot store.',
    ),
    (
        "not-nfc",
        lambda name: unicodedata.normalize("NFC", name) != name,
        "The name is not in Unicode normal form C: two names could look the same.",
    ),
    (
        "too-long",
        lambda name: len(name.encode("utf-8", "surrogatepass")) > NAME_LONGEST,
        f"The name is longer than {NAME_LONGEST} bytes.",
    ),
)


def _categories(name: str) -> set[str]:
    return {unicodedata.category(char) for char in name if char not in _BIDI and char != "\0"}


def _problems(name: str) -> Iterator[tuple[str, str]]:
    """Yield (rule, reason) for what is wrong with one component of a path."""
    if name in {"", ".", ".."}:
        yield "dots", "A name cannot be empty, '.' or '..'."
        return
    for rule, broken, reason in _RULES:
        if broken(name):
            yield rule, reason


def name_findings(name: str) -> list[Finding]:
    """Return what is wrong with a file's name (one component, no folders); every problem is `blocked`."""
    return [Finding(CHECK, rule, Verdict.BLOCKED, "", reason) for rule, reason in _problems(name)]


class BadName(ValueError):
    """A name that may not cross; the text says why and shows the name safely.

    Args:
        rule: the rule that it breaks.
        reason: one sentence for a person.
        name: the name as it came.
    """

    def __init__(self, rule: str, reason: str, name: str) -> None:
        super().__init__(f"{reason} ({display(name, 80)})")
        self.rule = rule
        self.reason = reason


def accept_name(name: str) -> str:
    """Return the name when it may cross the boundary.

    Raises:
        BadName: it may not, and why.
    """
    for rule, reason in _problems(name):
        raise BadName(rule, reason, name)
    return name


_HOSTILE_IN_MEMBER = {"nul", "bidi", "control", "encoding", "separator", "dots"}
_USUAL_IN_MEMBER = {"hidden", "leading-dash"}


def member_findings(path: str, where: str) -> list[Finding]:
    """Return what is wrong with the path of a member of an archive.

    A path that leaves the folder or lies about itself is `blocked`; one that is only awkward is `flagged`. Dot files
    are usual in archives and pass.
    """
    found: dict[str, Finding] = {}

    def add(rule: str, verdict: Verdict, reason: str) -> None:
        found.setdefault(rule, Finding(CHECK, rule, verdict, where, reason))

    if path.startswith("/") or re.match(r"[A-Za-z]:[\\/]", path):
        add("absolute", Verdict.BLOCKED, "The member has an absolute path.")
    if len(path.encode("utf-8", "surrogatepass")) > PATH_LONGEST:
        add("path-too-long", Verdict.BLOCKED, f"The member's path is longer than {PATH_LONGEST} bytes.")
        return list(found.values())
    parts = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in parts:
        add("traversal", Verdict.BLOCKED, "The member's path leaves its folder (..).")
    for part in parts:
        for rule, reason in _problems(part):
            if rule not in _USUAL_IN_MEMBER and part != "..":
                verdict = Verdict.BLOCKED if rule in _HOSTILE_IN_MEMBER else Verdict.FLAGGED
                add(rule, verdict, reason.replace("The name", "A name in the path", 1))
    return list(found.values())
