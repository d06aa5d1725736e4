"""Every template, rendered with plain content under StrictUndefined, and judged as HTML."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, UndefinedError
from markupsafe import Markup

from broch_core.web.pages import templates_of

WEB = Path(__file__).parents[3] / "api" / "broch_core" / "web"
TEMPLATES = WEB / "templates"
NOW = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
VOID = {"meta", "link", "input", "hr", "br", "img", "path", "rect", "line", "polyline"}


def environment() -> Environment:
    return templates_of(())


def shell(**more: Any) -> dict[str, Any]:
    undo = {"action": "/undo", "label": "Undo", "fields": {"member": "1"}}
    return {
        "person": {"display_name": "Ann Ek", "handle": "ann"},
        "nav": [
            {"label": "Projects", "href": "/projects", "key": "p", "current": True, "badge": 0},
            {"label": "Airlock", "href": "/airlock", "key": "a", "current": False, "badge": 3},
        ],
        "csrf_token": "the-token",
        "theme": "dark",
        "notice": "This TRE is frozen.",
        "banner": "For trying Broch: not for real sensitive data",
        "flash": [
            {"kind": "ok", "text": "Ann is a member.", "undo": undo},
            {"kind": "error", "text": "No.", "undo": None},
        ],
        "now": NOW,
        "version": "0.1.0",
        "shell_mode": "embedded",
        "request_id": "01JD",
        **more,
    }


def workspace(state: str) -> dict[str, Any]:
    return {
        "project_name": "Lung nodules",
        "project_href": "/projects/1",
        "state": state,
        "until": NOW + timedelta(hours=4),
        "src": "http://x.hub.broch.localhost:1/",
        "stop_action": "/stop",
        "start_action": "/start",
        "airlock_href": "/airlock",
        "airlock_state": "in_review",
        "progress_href": "/progress",
        "steps": ["Plan", "Sandbox", "Notebook"],
        "step": 1,
        "message": "Mounting two datasets.",
        "log": "line",
    }


PEOPLE = [
    {"handle": "ann", "display_name": "Ann Ek", "role": "Researcher", "description": "Leads a project."}
]
PROBLEM = {
    "title": "No GPU",
    "status": 409,
    "detail": "All taken.",
    "remedy": "Wait.",
    "errors": [{"field": "body.name", "reason": "too long"}],
}
SIGN_IN: dict[str, Any] = {
    "people": PEOPLE,
    "action": "/sign-in",
    "next": "/",
    "notes": [{"kind": "warn", "text": "Old browser."}],
}
PAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "styleguide": ("styleguide.html", shell()),
    "sign-in": ("signin.html", shell(person=None, nav=[], **SIGN_IN)),
    "error": ("error.html", shell(problem=PROBLEM)),
    "bare error": (
        "error.html",
        shell(person=None, nav=[], request_id=None, problem=PROBLEM | {"remedy": None, "errors": None}),
    ),
    "stage": ("fragments/workspace_stage.html", shell(workspace=workspace("starting"))),
} | {
    f"workspace {state}": ("workspace_frame.html", shell(workspace=workspace(state)))
    for state in ("starting", "running", "failed", "stopped")
}


class Page(HTMLParser):
    """The elements of a page, with what they stand in, and whether it is well nested."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], tuple[int, ...]]] = []
        self.open: list[tuple[str, int]] = []
        self.wrong: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += [f"<{tag}> stays open" for tag, _ in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, tuple(i for _, i in self.open)))
        if tag not in VOID:
            self.open.append((tag, len(self.elements) - 1))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, tuple(i for _, i in self.open)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1][0] == tag:
            self.open.pop()
        else:
            self.wrong.append(f"</{tag}> closes {self.open[-1:]}")

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [attrs for tag, attrs, _ in self.elements if tag in tags]


def page(name: str) -> Page:
    template, context = PAGES[name]
    return Page(environment().get_template(template).render(**context))


def inline_code(document: Page) -> list[str]:
    found = [
        tag
        for tag, attrs, _ in document.elements
        if tag == "style" or (tag == "script" and "src" not in attrs)
    ]
    for tag, attrs, _ in document.elements:
        found += [f"{tag} {name}" for name in attrs if name == "style" or name.startswith(("on", "hx-on"))]
        found += [f"{tag} {v}" for v in attrs.values() if v.strip().lower().startswith("javascript:")]
    return found


def forms_without_token(document: Page) -> list[str]:
    return [
        attrs["action"]
        for number, (tag, attrs, _) in enumerate(document.elements)
        if tag == "form"
        and attrs.get("method") != "get"
        and not any(
            inner.get("name") == "csrf_token" and inner.get("value") == "the-token" and number in inside
            for _, inner, inside in document.elements
        )
    ]


every_page = pytest.mark.parametrize("name", PAGES)


def test_every_template_compiles() -> None:
    names = environment().list_templates()
    assert "base.html" in names
    for name in names:
        environment().get_template(name)


def test_every_page_template_has_a_sample_here() -> None:
    pages = {n for n in environment().list_templates() if not n.startswith("macros/")}
    assert pages - {"base.html", "layout.html"} == {t for t, _ in PAGES.values()}


def test_a_page_without_csrf_token_cannot_be_made() -> None:
    context = shell()
    del context["csrf_token"]
    with pytest.raises(UndefinedError, match="csrf_token"):
        environment().get_template("styleguide.html").render(**context)


@every_page
def test_no_inline_code(name: str) -> None:
    assert inline_code(page(name)) == []


@pytest.mark.parametrize(
    "html",
    ["<p style='x'>", "<p onclick=x>", "<script>1</script>", "<style></style>", "<a href='JavaScript:x'>"],
)
def test_inline_code_is_noticed(html: str) -> None:
    assert inline_code(Page(html))


def test_no_template_source_holds_inline_code() -> None:
    for path in TEMPLATES.rglob("*.html"):
        source = path.read_text()
        assert "|safe" not in source, path
        # Branches that no sample takes are read too; arguments of macros are not markup.
        markup = re.sub(r"\{[{%#].*?[}%#]\}", "", source, flags=re.DOTALL)
        assert not re.search(r"\s(style=|on[a-z]+=[\"'])|<style|<script(?![^>]*\ssrc=)", markup), path


@every_page
def test_every_posting_form_has_the_token(name: str) -> None:
    assert forms_without_token(page(name)) == []


def test_a_form_without_token_is_noticed() -> None:
    assert forms_without_token(Page("<form method=post action=/x></form>")) == ["/x"]


@every_page
def test_elements_are_well_nested(name: str) -> None:
    assert page(name).wrong == []


@every_page
def test_ids_are_unique_and_references_lead_somewhere(name: str) -> None:
    attributes = [attrs for _, attrs, _ in page(name).elements]
    ids = [a["id"] for a in attributes if "id" in a]
    assert len(ids) == len(set(ids))
    for a in attributes:
        for reference in ("for", "aria-describedby", "aria-labelledby", "data-dialog-open", "data-counter"):
            assert set(a.get(reference, "").split()) <= set(ids), (reference, a)


@every_page
def test_every_field_has_a_name_for_people(name: str) -> None:
    document = page(name)
    labelled = {a["for"] for a in document.all("label") if "for" in a}
    for tag, attrs, inside in document.elements:
        if tag in {"input", "select", "textarea"} and attrs.get("type") != "hidden":
            wrapped = any(document.elements[i][0] == "label" for i in inside)
            assert wrapped or attrs.get("id") in labelled, attrs
        if tag == "iframe":
            assert attrs["title"]


@every_page
def test_every_class_is_in_a_style_sheet(name: str) -> None:
    styles = "".join(p.read_text() for p in (WEB / "static").glob("*.css"))
    defined = set(re.findall(r"\.([a-z][a-z0-9-]*)", styles))
    # Words that only tell a plain variant from others.
    plain = {"todo", "level-fine", "shape", "account"}
    used = {word for _, attrs, _ in page(name).elements for word in attrs.get("class", "").split()}
    assert used - plain <= defined


@every_page
def test_every_static_file_named_is_there(name: str) -> None:
    for attrs in page(name).all("link", "script"):
        address = attrs.get("href") or attrs["src"]
        assert (WEB / address.split("?")[0].lstrip("/")).is_file(), address


def test_htmx_may_not_evaluate_nor_leave_the_origin() -> None:
    config = next(a["content"] for a in page("styleguide").all("meta") if a.get("name") == "htmx-config")
    for line in ('"allowEval":false', '"includeIndicatorStyles":false', '"selfRequestsOnly":true'):
        assert line in config


def test_the_notebook_frame_is_sandboxed_and_the_viewer_wholly() -> None:
    (notebook,) = page("workspace running").all("iframe")
    assert set(notebook["sandbox"].split()) == {
        "allow-scripts",
        "allow-same-origin",
        "allow-forms",
        "allow-modals",
    }
    (viewer,) = page("styleguide").all("iframe")
    assert viewer["sandbox"] == ""
    assert "src" not in viewer


def test_only_a_starting_workspace_polls() -> None:
    polls = {n for n in PAGES if any("hx-get" in a for _, a, _ in page(n).elements)}
    assert polls == {"workspace starting", "stage"}


def macro(call: str, **values: Any) -> str:
    source = "{% import 'macros/ui.html' as ui %}{{ " + call + " }}"
    return environment().from_string(source).render(**values)


def test_a_name_of_a_file_cannot_become_markup() -> None:
    assert "<img" not in macro("ui.sha(x)", x="<img src=x>")
    assert "&lt;img" in macro("ui.badge(x)", x="<img src=x>")
    assert "<b>" in macro("ui.badge('clean', label=x)", x=Markup("<b>"))


@pytest.mark.parametrize(
    "when",
    [NOW, NOW.replace(tzinfo=None), NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))],
    ids=["utc", "naive is utc", "elsewhere"],
)
def test_times_are_written_in_utc(when: datetime) -> None:
    assert 'datetime="2026-11-22T18:30:00Z"' in macro("ui.time(x)", x=when)
    assert "22 Nov 2026, 18:30 UTC" in macro("ui.time(x)", x=when)


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**20 - 1, "1.0 MiB"), (2**40, "1.0 TiB")],
)
def test_sizes_have_units(n: int, text: str) -> None:
    assert text in macro("ui.bytes(x)", x=n)


def test_states_differ_by_shape_not_only_by_colour() -> None:
    shapes = {
        s: re.findall(r' d="([^"]+)"', macro("ui.badge(x)", x=s))[0] for s in ("clean", "flagged", "blocked")
    }
    assert len(set(shapes.values())) == 3
    assert "Something new" in macro("ui.badge(x)", x="something_new")
