"""Colours are readable, vendored files are what they say, style sheets stay small."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[3] / "api" / "broch_core" / "web" / "static"
PAIR = re.compile(r"--([a-z-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)")
TOKENS = {name: (light, dark) for name, light, dark in PAIR.findall((STATIC / "tokens.css").read_text())}

TONES = ("ok", "warn", "bad", "info", "neutral")
GROUNDS = ("paper", "surface", "sunken", "raised")
TEXT = [
    *[(text, ground) for text in ("ink", "ink-soft", "accent", "accent-hover") for ground in GROUNDS],
    *[(tone, f"{tone}-wash") for tone in TONES],
    *[("ink", f"{tone}-wash") for tone in TONES],
    *[(tone, ground) for tone in ("ok", "bad", "warn") for ground in ("paper", "surface")],
    *[("accent", f"{tone}-wash") for tone in TONES],
    ("accent-ink", "accent"),
    ("accent-ink", "accent-hover"),
    ("bad-ink", "bad"),
    ("accent", "accent-wash"),
    ("accent-hover", "accent-wash"),
    ("ink", "accent-wash"),
    ("ink-soft", "accent-wash"),
    ("ink-soft", "neutral-wash"),
]
GRAPHICS = [
    *[(mark, ground) for mark in ("focus", "line-strong") for ground in ("paper", "surface", "raised")],
    ("accent", "neutral-wash"),
]


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.2."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_wcag_says() -> None:
    assert contrast("000000", "ffffff") == pytest.approx(21)
    assert contrast("777777", "ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_can_be_read(text: str, ground: str, mode: int) -> None:
    assert contrast(TOKENS[text][mode], TOKENS[ground][mode]) >= 4.5


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("mark", "ground"), GRAPHICS)
def test_marks_can_be_seen(mark: str, ground: str, mode: int) -> None:
    assert contrast(TOKENS[mark][mode], TOKENS[ground][mode]) >= 3


def test_every_token_used_is_defined() -> None:
    defined = set(re.findall(r"(--[a-z0-9-]+):", (STATIC / "tokens.css").read_text()))
    for sheet in STATIC.glob("*.css"):
        assert set(re.findall(r"var\((--[a-z0-9-]+)", sheet.read_text())) <= defined, sheet.name


def test_colours_live_in_the_tokens_alone() -> None:
    for sheet in STATIC.glob("*.css"):
        if sheet.name != "tokens.css":
            # A rendered file is shown on white paper in both modes.
            assert set(re.findall(r"#[0-9a-f]{3,8}\b|rgb\(", sheet.read_text())) <= {"#fff"}, sheet.name


def test_vendored_files_match_their_sha256() -> None:
    rows = re.findall(
        r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", (STATIC / "vendor" / "README.md").read_text(), re.MULTILINE
    )
    assert {name for name, _ in rows} == {p.name for p in (STATIC / "vendor").glob("*.js")}
    for name, digest in rows:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest


def test_own_scripts_never_evaluate_text_nor_write_markup() -> None:
    scripts = list(STATIC.glob("*.js"))
    assert scripts
    for script in scripts:
        assert not re.search(
            r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write",
            script.read_text(),
        )


def test_style_sheets_and_scripts_stay_small() -> None:
    for path in [*STATIC.glob("*.css"), *STATIC.glob("*.js")]:
        assert len(path.read_text().splitlines()) < 400, path.name
