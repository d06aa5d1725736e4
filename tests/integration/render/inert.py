"""The judge of a rendered page: an allow-list of elements and attributes, and nothing that points anywhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

ATTRIBUTES = {
    "html": {"lang"},
    "meta": {"charset", "name", "content"},
    "p": {"class", "role"},
    "ul": {"class"},
    "table": {"class"},
    "th": {"scope"},
    "span": {"class"},
    "img": {"src", "alt", "width", "height"},
}
PLAIN = {
    "head",
    "title",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "bdi",
    "dl",
    "div",
    "dt",
    "dd",
    "strong",
    "li",
    "main",
    "section",
    "tbody",
    "thead",
    "tr",
    "td",
}
VOID = {"meta", "img"}
_SOURCE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
_METAS = {("name", "viewport"), ("name", "referrer"), ("charset", "utf-8")}


class Judge(HTMLParser):
    """Collects what an inert page must not have; all text ends up in `said`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in PLAIN and tag not in ATTRIBUTES:
            self.faults.append(f"element {tag}")
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names) or not set(names) <= ATTRIBUTES.get(tag, set()):
            self.faults.append(f"attributes of {tag}: {names}")
        if tag == "img":
            source = dict(attrs)["src"] or ""
            self.images.append(source)
            if not _SOURCE.fullmatch(source):
                self.faults.append("an image from elsewhere")
        if tag == "meta" and attrs[0] not in _METAS:
            self.faults.append(f"meta {attrs}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"end of {tag}")

    def handle_decl(self, decl):
        if decl != "DOCTYPE html":
            self.faults.append(decl)

    def handle_comment(self, data):  # noqa: ARG002 (the name is the base class's)
        self.faults.append("a comment")

    def handle_pi(self, data):  # noqa: ARG002 (the name is the base class's)
        self.faults.append("a processing instruction")

    def unknown_decl(self, data):  # noqa: ARG002 (the name is the base class's)
        self.faults.append("a declaration")

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            if re.search(r"url\(|@import|https?:|//|expression|\\", data):
                self.faults.append("a style that points elsewhere")
        else:
            self.said.append(data)


def judged(html: str) -> Judge:
    """Return what there is to say of a page."""
    judge = Judge()
    judge.feed(html)
    judge.close()
    if judge.open:
        judge.faults.append(f"left open: {judge.open}")
    if re.search(r"<\s*script|<\s*/?\s*(?:svg|iframe|object|form|a)\b", html, re.IGNORECASE):
        judge.faults.append("an active element")
    return judge


def text_of(html: str) -> str:
    """Return all that the page says, and fail when it is not inert."""
    judge = judged(html)
    assert judge.faults == []
    return "".join(judge.said)
