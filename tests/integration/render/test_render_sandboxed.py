"""Files shown through a real sandbox; and what is shown when the sandbox is away, killed, slow or lying."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from broch_airlock.checks.model import FileUnderCheck
from broch_airlock.checks.sandbox import BubblewrapSandbox
from broch_airlock.viewer.render import render, supervisor
from broch_airlock.viewer.render.page import HTML_LARGEST
from broch_workspaces.sandbox.errors import Cause, SandboxUnavailable
from integration.render.inert import text_of

HOSTILE = b"<script>alert(1)</script><img src=x onerror=alert(1)>"


def picture() -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").save(out, "PNG")
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("!L", len(content)) + kind + content + struct.pack("!L", zlib.crc32(kind + content))


def png(width: int, height: int, *between: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack("!2L5B", width, height, 8, 0, 0, 0, 0))
    rows = b"".join(b"\0" + bytes(width) for _ in range(min(height, 4)))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + body + chunk(b"IEND", b"")


SHOWN = {
    "words.txt": (b"words\n" + HOSTILE, "text"),
    "long.txt": (b"x" * (100 << 20), "text"),
    "wide.csv": (b",".join(b"%d" % number for number in range(1_000_000)), "text"),
    "commas.csv": (b",\n" * (8 << 20), "table"),
    "quotes.csv": (b'"' * (20 << 20), "text"),
    "a.csv": (b"a,b\n1," + HOSTILE + b"\n", "table"),
    "a.json": (b'{"a": ' + json.dumps(HOSTILE.decode()).encode() + b"}", "json"),
    "deep.json": (b"[" * (3 << 20), "text"),
    "lists.ipynb": (b'{"nbformat": 4, "cells": [' + b"[]," * (10 << 20) + b"[]]}", "text"),
    "plot.png": (picture(), "image"),
    "bomb.png": (png(60_000, 60_000), "data"),
    "polyglot.png": (picture() + b"PK\x03\x04" + HOSTILE, "image"),
    "text-bomb.png": (png(4, 4, chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(60 << 20)))), "data"),
    "cut.png": (picture()[:200], "data"),
    "x.pdf": (b"%PDF-1.7" + HOSTILE, "data"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_every_kind_is_shown_within_seconds_and_bounds(gallery, name):
    content, kind = SHOWN[name]
    started = time.monotonic()
    page = gallery.show(name, content)
    assert page.kind == kind
    assert time.monotonic() - started < supervisor.SECONDS + 20
    assert len(page.html) < HTML_LARGEST
    assert name in text_of(page.html)


class NoSandbox:
    def start(self, *_arguments):
        raise SandboxUnavailable(Cause.NO_BUBBLEWRAP, "bubblewrap is not installed.", "Install it.")


class KilledSandbox:
    def start(self, *arguments):
        process = BubblewrapSandbox().start(*arguments)
        process.kill()
        return process


class LyingSandbox:
    """Says what it is told to say."""

    def __init__(self, script: str) -> None:
        self.script = script

    def start(self, *_arguments):
        head = (
            "import sys,struct,json,time\nw=sys.stdout.buffer.write\n"
            "def r(k,p): w(struct.pack('!BI',ord(k),len(p))+p)\n"
            "def j(k,**v): r(k,json.dumps(v).encode())\n"
            "def end(**v): j('R',**{'kind':'text','pages':1,'facts':[],'notes':[],**v})\n"
            "def image(w,h,p): j('I',label='',width=w,height=h,true_width=w,true_height=h); r('P',p)\n"
            f"good={png(4, 4)!r}\n"
        )
        return subprocess.Popen([sys.executable, "-c", head + self.script], stdout=subprocess.PIPE)


def is_failure(page, file_name: str = "a.txt") -> bool:
    said = text_of(page.html)
    assert file_name in said
    assert "SHA-256" in said
    return page.kind == "failure" and "cannot be shown" in said and page.pages is None


@pytest.mark.parametrize("sandbox", [NoSandbox(), KilledSandbox()], ids=["none", "killed"])
def test_without_a_sandbox_nothing_of_the_file_is_shown(gallery, sandbox):
    page = gallery.show("a.txt", b"the words of the file\n", sandbox=sandbox)
    assert is_failure(page)
    assert "the words" not in page.html
    assert not is_failure(gallery.show("a.txt", b"the words of the file\n"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try to make a sandbox as root")
def test_as_root_nothing_is_shown(gallery):
    file = gallery.run(lambda: gallery.file("a.txt", b"words\n"))
    assert is_failure(render(file))


def test_a_sandbox_that_keeps_the_protocol_is_shown_escaped(gallery):
    honest = "j('L',label='<b>',rows=[[1,'<script>x</script>\\u202e']]); image(4,4,good); end(notes=['<i>'])"
    page = gallery.show("a.txt", b"words\n", sandbox=LyingSandbox(honest))
    assert page.kind == "text"
    assert "<script>x</script>U+202E" in text_of(page.html)


LIES = {
    "nothing": "pass",
    "html": "w(b'<html><script>alert(1)</script>')",
    "no end": "j('L',label='',rows=[[1,'x']])",
    "unknown record": "r('Z',b''); end()",
    "not json": "r('L',b'{'); end()",
    "more fields": "j('L',label='',rows=[],html='<b>'); end()",
    "html for a kind": "end(kind='<b>')",
    "lone surrogate": 'r(\'L\',b\'{"label":"","rows":[[1,"\\\\ud800"]]}\'); end()',
    "not UTF-8": 'r(\'L\',b\'{"label":"\\xff","rows":[]}\'); end()',
    "a number for a text": "j('L',label='',rows=[[1,2]]); end()",
    "too many rows": "j('L',label='',rows=[[1,'x']]*3000); end()",
    "too many rows in parts": "[j('L',label='',rows=[[1,'x']]*900) for _ in range(3)]; end()",
    "too many parts": "[j('L',label='',rows=[]) for _ in range(3000)]; end()",
    "a row too long": "j('L',label='',rows=[[1,'x'*7000]]); end()",
    "too many columns": "j('C',header=['x']*101,first=1,rows=[]); end()",
    "too many cells": "[j('C',header=['x']*90,first=1,rows=[['x']*90]*90) for _ in range(3)]; end()",
    "cells beside the table": "j('C',header=['x'],first=1,rows=[['x','y']]); end()",
    "svg for png": "image(4,4,b'<svg onload=alert(1)>'); end()",
    "another size": "image(5,4,good); end()",
    "huge": "image(60000,60000,good); end()",
    "something behind the png": "image(4,4,good+b'<script>'); end()",
    "a text in the png": f"image(4,4,{png(4, 4, chunk(b'tEXt', b'k' + bytes(1) + b'v'))!r}); end()",
    "a damaged png": "image(4,4,good[:-6]+bytes(6)); end()",
    "png without a word": "r('P',good); end()",
    "a word without png": "j('I',label='',width=4,height=4,true_width=4,true_height=4); end()",
    "too many images": "[image(4,4,good) for _ in range(9)]; end()",
    "much hex": "r('X',bytes(5000)); end()",
    "an endless record": "w(struct.pack('!BI',ord('L'),0xffffffff)); w(bytes(100)); time.sleep(60)",
    "silence": "time.sleep(60)",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_sandbox_that_lies_is_not_shown(gallery, monkeypatch, lie):
    monkeypatch.setattr(supervisor, "SECONDS", 2)
    started = time.monotonic()
    assert is_failure(gallery.show("a.txt", b"words\n", sandbox=LyingSandbox(LIES[lie])))
    assert time.monotonic() - started < 30, "they sleep for a minute"


def test_bytes_that_changed_since_intake_are_not_shown(gallery):
    def action():
        file = gallery.file("a.txt", b"words\n")
        changed = FileUnderCheck(file.name, file.size, "0" * 64, file.path)
        longer = FileUnderCheck(file.name, file.size + 1, file.sha256, file.path)
        link = file.path.with_name("link")
        link.symlink_to(file.path)
        linked = FileUnderCheck(file.name, file.size, file.sha256, link)
        gone = FileUnderCheck(file.name, file.size, file.sha256, file.path.with_name("gone"))
        return [render(one) for one in (file, changed, longer, linked, gone)]

    same, *others = gallery.run(action)
    assert same.kind == "text"
    assert all(is_failure(page) for page in others)


def test_pages_are_those_that_are_asked_for(gallery):
    content = "".join(f"line {number}\n" for number in range(1, 5001)).encode()
    page = gallery.show("a.txt", content, page=3)
    assert page.pages == 3
    assert "line 4001" in text_of(page.html)
    assert "line 4000" not in text_of(page.html)


def test_the_supervisor_needs_little_memory_whatever_the_file_is(gallery):
    def sparse(path: Path) -> None:
        with path.open("wb") as file:
            file.write(b"words and words\n")
            file.truncate(500 << 20)

    def action():
        file = gallery.file("big.txt", sparse)
        bomb = gallery.file("bomb.png", png(60_000, 60_000))
        # The peak of this process alone: a child begins with what its parent had.
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_kib()
        kinds = [render(one).kind for one in (file, bomb)]
        shutil.rmtree(file.path.parent)
        return kinds, peak_kib() - before

    kinds, grown = gallery.run(action)
    assert kinds[0] in {"text", "data"}
    assert grown < 200 << 10  # KiB


def peak_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
