"""From bytes to an inert page, without a sandbox between: the same parsers, the same records, the same escaping."""

from __future__ import annotations

import base64
import io
import json
import random
import re
import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.viewer.render.inside import __main__ as inside
from broch_airlock.viewer.render.inside import pager, texts
from broch_airlock.viewer.render.inside.records import HEX, PNG, PNG_LARGEST, REPORT, RecordWriter
from broch_airlock.viewer.render.model import RenderedPage
from broch_airlock.viewer.render.page import HTML_LARGEST, MARKS_MOST, make_page
from broch_airlock.viewer.render.reading import read_answer
from integration.render.inert import judged, text_of
from support.counts import count


def shown(name: str, content: bytes, page: int = 1) -> RenderedPage:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        answer = inside.render_inside(file, name, page)
    stream = io.BytesIO()
    out = RecordWriter(stream.write)
    for kind, value in answer.records:
        (out.raw if kind in {PNG, HEX} else out.json)(kind, value)
    out.json(REPORT, answer.report())
    stream.seek(0)
    return make_page(FileUnderCheck(name, len(content), "ab" * 32, Path("none")), page, read_answer(stream))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plot(width: int = 40, height: int = 30) -> Image.Image:
    return Image.radial_gradient("L").resize((width, height)).convert("RGB")


def notebook(*cells: dict, **rest) -> bytes:
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **rest}).encode()


def code_cell(**rest) -> dict:
    return {"cell_type": "code", "source": [], "outputs": [], "metadata": {}, "execution_count": 1, **rest}


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)><!-- http://evil.example/ ]]>"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        (f"{HOSTILE}.txt".replace("/", "_"), b"words\n", "text"),
        ("a.txt", HOSTILE.encode(), "text"),
        ("a.html", b"<!DOCTYPE html>" + HOSTILE.encode(), "text"),
        ("a.csv", f"a,{HOSTILE}\n{HOSTILE},2\n".encode(), "table"),
        ("a.json", json.dumps({HOSTILE: [HOSTILE] * 100}).encode(), "json"),
        ("a.ipynb", notebook(code_cell(source=HOSTILE, **{HOSTILE: HOSTILE}), **{HOSTILE: 1}), "notebook"),
        (
            "b.ipynb",
            notebook(
                code_cell(
                    outputs=[{"output_type": HOSTILE, "data": {"text/html": HOSTILE, HOSTILE: HOSTILE}}]
                )
            ),
            "notebook",
        ),
        ("svg.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "text"),
        ("polyglot.gif", b"GIF89a/*" + HOSTILE.encode() + b"*/", "data"),
        ("comment.jpg", encoded(plot(), "JPEG", comment=HOSTILE.encode()), "image"),
        ("page.pdf", b"%PDF-1.7\n" + HOSTILE.encode(), "data"),
    ],
)
def test_markup_in_every_place_is_shown_as_text(name, content, kind):
    page = shown(name, content)
    assert page.kind == kind
    assert "script" in text_of(page.html)  # it is there, and it is only words


@pytest.mark.parametrize(
    "char", ["\u202e", "\u2066", "\u200b", "\u00a0", "\u3000", "\0", "\x1b", "\r", "\ufe0f", "\U000e0041"]
)
def test_what_draws_nothing_or_turns_the_text_stands_as_its_code_point(char):
    html = shown("a.txt", (f"be{char}fore\n" + "words\n" * 20).encode()).html
    assert f"beU+{ord(char):04X}fore" in text_of(html)
    assert char not in html
    assert "U+" not in text_of(shown("a.txt", b"before\tand after\n").html)


def test_a_flood_of_odd_characters_stays_bounded():
    flood = "\u200b\u200c" * 900_000
    html = shown("a.txt", flood.encode()).html
    assert html.count('class="odd"') == MARKS_MOST
    assert "shown as \ufffd" in text_of(html)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"]
)
def test_text_is_read_in_its_encoding(encoding):
    page = shown("a.txt", "Größe der Gruppe\r\nzwei\r\n".encode(encoding))
    said = text_of(page.html)
    assert page.kind == "text"
    assert "Größe der Gruppe" in said
    assert "Lines2" in said


def test_bytes_that_are_not_utf8_are_not_lost():
    said = text_of(shown("a.txt", b"words\n" * 10_000 + b"\xff\xfe!\n", page=6).html)
    assert "\\xff\\xfe!" in said


def rows_of(html: str) -> list[tuple[str, str]]:
    return re.findall(r'<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', html)


@settings(max_examples=count("pages of text hold every line", ci=40, nightly=1000), deadline=None)
@given(st.lists(st.integers(0, 2500), max_size=40), st.integers(1, 40), st.booleans())
@example([999, 1000, 1001, 2000, 2001, 0], 7, True)
@example([775, 5], 7, True)  # the line's end is cut in two
def test_all_pages_together_hold_every_line_wholly(lengths, rows, ends):
    lines = [f"{number}:".ljust(length, "x")[:length] for number, length in enumerate(lengths)]
    content = "\r\n".join(lines) + ("\r\n" if ends and lines else "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pager, "PAGE_ROWS", rows)
        patch.setattr(texts, "_CHUNK", 777)  # the ends of pieces fall everywhere
        first = shown("a.txt", b"." + content.encode())
        found = []
        for page in range(1, (first.pages or 0) + 1):
            found += rows_of(shown("a.txt", b"." + content.encode(), page).html)
    joined: list[str] = []
    for number, text in found:
        if number == "↪":
            joined[-1] += text
        else:
            joined.append(text)
            assert number == str(len(joined))
    assert joined == ("." + content).replace("\r\n", "\n").removesuffix("\n").split("\n")


def test_a_page_that_does_not_exist_says_so():
    page = shown("a.txt", b"words\n", page=9)
    assert page.pages == 1
    assert "There is no page 9" in text_of(page.html)


def test_a_csv_is_a_table_with_a_header_and_counts():
    content = "name;age\n" + "".join(f"p{number};{number}\n" for number in range(1200))
    page = shown("a.csv", content.encode(), page=3)
    assert (page.kind, page.pages) == ("table", 3)
    assert '<th scope="col">name</th><th scope="col">age</th>' in page.html
    assert '<tr><th scope="row">1001</th><td>p1000</td><td>1000</td></tr>' in page.html
    assert "1,200 and a header" in text_of(page.html)


def test_a_csv_of_numbers_keeps_its_first_row():
    page = shown("a.csv", b"1,2\n3,4\n")
    assert "<td>1</td><td>2</td>" in page.html
    assert "numbered" in text_of(page.html)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b",".join(b"%d" % number for number in range(1_000_000)), "1,048,576 bytes"),
        (b",".join(b"%d" % number for number in range(101)) + b"\n", "more than 100 columns"),
        (b"a,b\n1," + b"x" * 2001 + b"\n", "field larger"),
        (b'a,b\n"' + b"x,\n" * 2000, "field larger"),
    ],
)
def test_a_table_that_does_not_fit_is_shown_as_text_so_that_nothing_is_cut(content, reason):
    page = shown("a.csv", content)
    assert page.kind == "text"
    assert reason in text_of(page.html)


def test_json_in_one_line_is_broken_up_and_keeps_every_token():
    value = {"a": list(range(500)), "b": {"c": 'x"y\\', "d": {}, "e": []}, "n": 1.50}
    page = shown("a.json", json.dumps(value).encode())
    assert page.kind == "json"
    lines = re.findall(r"</th><td>(.*?)</td></tr>", page.html)
    assert json.loads("\n".join(lines).replace("&#34;", '"')) == value


def test_a_notebook_shows_cells_outputs_and_what_hides_in_metadata():
    image = base64.b64encode(encoded(plot(), "PNG")).decode()
    data = {"image/png": image, "text/html": "<b>bold</b>"}
    cell = code_cell(
        source=["x = 1\n", "plot(x)"],
        outputs=[
            {"output_type": "display_data", "data": data, "metadata": {"deep": "hidden-1"}},
            {"output_type": "stream", "name": "stderr", "text": "oh no"},
            {"output_type": "error", "traceback": ["\x1b[31mwrong"], "ename": "E"},
        ],
        metadata={"tags": ["hidden-2"]},
        attachments={"a.png": {"image/png": image}},
    )
    page = shown("a.ipynb", notebook(cell, metadata={"kernel": "hidden-3"}))
    said = text_of(page.html)
    assert page.kind == "notebook"
    for words in ("plot(x)", "<b>bold</b>", "oh no", "U+001B[31mwrong", "hidden-1", "hidden-2", "hidden-3"):
        assert words in said
    assert len(judged(page.html).images) == 2


@pytest.mark.parametrize(
    "content",
    [
        b'{"cells": [], "cells": [1], "nbformat": 4}',
        b'{"cells": [3], "nbformat": 4}',
        b'{"cells": 1, "nbformat": 4}',
    ],
)
def test_an_odd_notebook_is_shown_as_its_json(content):
    page = shown("a.ipynb", content)
    assert page.kind == "json"
    assert "JSON text is shown" in text_of(page.html)


@pytest.mark.parametrize("content", [b'{"cells": [, "nbformat": 4}', b"[" * 200_000 + b'"cells"'])
def test_broken_json_is_shown_as_text(content):
    assert shown("a.ipynb", content).kind == "text"


PICTURES = {
    "png": encoded(plot(), "PNG"),
    "jpeg": encoded(plot(), "JPEG"),
    "gif": encoded(plot(), "GIF"),
    "webp": encoded(plot(), "WEBP"),
    "tiff": encoded(plot(), "TIFF"),
    "cmyk": encoded(plot().convert("CMYK"), "JPEG"),
    "float": encoded(plot().convert("L").convert("F"), "TIFF"),
    "flat float": encoded(Image.new("F", (4, 4), float("nan")), "TIFF"),
    "16 bit": encoded(plot().convert("L").convert("I").convert("I;16"), "PNG"),
    "1 bit": encoded(plot().convert("1"), "PNG"),
    "palette": encoded(plot().convert("P"), "PNG", transparency=3),
    "grey alpha": encoded(plot().convert("LA"), "PNG"),
}


def first_image(html: str) -> Image.Image:
    text_of(html)
    content = base64.b64decode(judged(html).images[0].removeprefix("data:image/png;base64,"))
    assert len(content) <= PNG_LARGEST
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_are_shown_as_png(kind):
    page = shown("picture", PICTURES[kind])
    assert page.kind == "image"
    assert first_image(page.html).size in {(40, 30), (4, 4)}


def test_a_picture_loses_its_metadata_and_the_page_tells_it():
    exif = Image.Exif()
    exif[0x010E] = "words in exif"
    content = encoded(plot(), "PNG", exif=exif, icc_profile=b"words in a profile")
    page = shown("a.png", content)
    assert not first_image(page.html).info
    assert "words in exif" in text_of(page.html)


def test_what_hides_behind_transparency_is_shown():
    image = plot().convert("RGBA")
    image.putalpha(0)
    page = shown("a.png", encoded(image, "PNG"))
    assert len(judged(page.html).images) == 2
    assert "what they hide" in text_of(page.html)


def test_every_frame_is_a_page():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    first, second = shown("a.gif", content), shown("a.gif", content, page=2)
    assert first.pages == 3
    assert first_image(first.html).convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert first_image(second.html).convert("RGB").getpixel((0, 0)) == (0, 255, 0)


def test_a_large_picture_is_made_smaller_and_its_true_size_stands_there():
    noise = Image.frombytes("RGB", (2600, 1300), random.Random(1).randbytes(2600 * 1300 * 3))
    page = shown("a.png", encoded(noise, "PNG", compress_level=1))
    assert first_image(page.html).width < 2600
    assert "2,600 x 1,300" in text_of(page.html)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("!L", len(content)) + kind + content + struct.pack("!L", zlib.crc32(kind + content))


def png_of(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack("!2L5B", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [
        png_of(60_000, 60_000),
        png_of(2**31 - 1, 1),
        png_of(0, 5),
        PICTURES["png"][:60],
        PICTURES["jpeg"][:-40],
        PICTURES["gif"][:30],
        PICTURES["webp"][:40],
        PICTURES["tiff"][:50],
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_bombs_and_truncated_pictures_are_shown_as_bytes_with_the_reason(content):
    page = shown("a.png", content)
    assert page.kind == "data"
    assert re.search("pixels|cannot be read|damaged", text_of(page.html))


MAGIC = [
    b"", b"{", b'{"cells":[', b'[{"nbformat"', b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"a,b\n", b"GIF89a",
    b"\xff\xd8\xff\xe0", b"II*\0\x08\0\0\0", b"MM\0*", b"RIFF\0\0\0\0WEBPVP8 ", b"%PDF-", b"PK\x03\x04", b"\x80\x04",
    PICTURES["png"][:33], PICTURES["png"][:-12], PICTURES["gif"][:40], PICTURES["jpeg"][:300],
    PICTURES["webp"][:60], PICTURES["tiff"][:200],
]  # fmt: skip


@settings(max_examples=count("random bytes with magic headers", ci=250, nightly=20_000), deadline=None)
@given(
    st.sampled_from(MAGIC),
    st.one_of(
        st.binary(max_size=3000), st.text(max_size=800).map(lambda text: text.encode("utf-8", "replace"))
    ),
    st.sampled_from(["a.txt", "a.csv", "a.tsv", "a.ipynb", "a.png", "<b>"]),
    st.sampled_from([1, 2, 10**9]),
)
def test_random_bytes_never_raise_and_are_always_inert(magic, rest, name, page):
    html = shown(name, magic + rest, page).html
    assert len(html) < HTML_LARGEST
    text_of(html)


@settings(max_examples=count("random JSON as notebooks", ci=100, nightly=5000), deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "cells",
                        "outputs",
                        "data",
                        "text",
                        "source",
                        "metadata",
                        "attachments",
                        "traceback",
                        "image/png",
                        "name",
                    ]
                )
                | st.text(max_size=5),
                inner,
                max_size=6,
            )
        ),
        max_leaves=30,
    )
)
def test_random_json_in_a_notebook_never_raises_and_is_always_inert(value):
    page = shown(
        "a.ipynb", json.dumps({"nbformat": 4, "cells": [value, {"outputs": [value], "x": value}]}).encode()
    )
    assert page.kind in {"notebook", "json"}
    text_of(page.html)
