"""The package route's listener for gateway and web: each call is found on a list, and says who may make it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping

import aiohttp
import structlog
from aiohttp import web
from pydantic import ValidationError

from broch_core.errors import Denied, DomainError, Invalid, NotFound, TooMany, Unavailable
from broch_core.web.problems import MEDIA_TYPE, TYPE_BASE
from broch_workspaces.packages import indexes
from broch_workspaces.packages.allowed import Allowed, Listed, Unlisted
from broch_workspaces.packages.control import ControlPlane
from broch_workspaces.packages.errors import RegistryRefused
from broch_workspaces.packages.files import Files, Opened
from broch_workspaces.packages.metrics import Counts
from broch_workspaces.packages.paths import Ask, What, find_ask
from broch_workspaces.packages.registries import Registry
from broch_workspaces.packages.settings import PackagesSettings
from broch_workspaces.packages.spec import Ecosystem, Fetch, ProjectList, Wanted
from broch_workspaces.packages.state import Allowance, Lists, MadeIndexes, Refusals
from broch_workspaces.slots import Full, Slots

log = structlog.get_logger()

_POD = re.compile(r"zone-(?P<project>[0-7][0-9a-hjkmnp-tv-z]{25})/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_PIECE = 256 << 10
_INDEX_BYTES = 64 << 20
"""Of indexes that are kept. One of conda with some thousand builds has 4 MB."""
_LONGEST_REASON = 300
_TYPES = {".whl": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip"}
_NOT_A_CALL = "The package route does not know this call."


def problem(error: DomainError) -> web.Response:
    """Return the answer to a request that is refused (RFC 9457).

    Package managers show the reason phrase or a member `error` at best, so the sentence is in both.
    """
    body = {
        "type": TYPE_BASE + error.kind,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "error": error.detail,
    }
    reason = "".join(char if " " <= char <= "~" else "?" for char in error.detail)[:_LONGEST_REASON]
    answer = web.Response(
        status=error.status, reason=reason, body=json.dumps(body).encode(), content_type=MEDIA_TYPE
    )
    if isinstance(after := error.facts.get("retry_after"), int):
        answer.headers["Retry-After"] = str(after)
    return answer


class Route:
    """Answers gateway and web.

    Args:
        settings: names, limits.
        lists: what is allowed.
        files: where files come from.
        registries: who knows what.
        control: takes records.
        refusals: takes names that were asked for in vain.
        counts: what is counted.
    """

    def __init__(
        self,
        settings: PackagesSettings,
        lists: Lists,
        files: Files,
        registries: Mapping[Ecosystem, Registry],
        control: ControlPlane,
        refusals: Refusals,
        counts: Counts,
    ) -> None:
        self._settings = settings
        self._lists = lists
        self._files = files
        self._registries = registries
        self._control = control
        self._refusals = refusals
        self._counts = counts
        self._allowance = Allowance()
        self._made = MadeIndexes(_INDEX_BYTES)
        self._slots = Slots(settings.requests)

    @property
    def under_way(self) -> int:
        """Requests being answered now."""
        return self._slots.taken

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            with self._slots.hold():
                return await self._answer(request)
        except Full as full:
            self._counts.add("refused", f"full-{full}")
            return problem(TooMany("Too many requests at once. Try again in a moment."))
        except DomainError as error:
            self._counts.add("refused", error.kind)
            return problem(error)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        names = _names(request)
        if request.raw_path == "/v1/resolve":
            if self._settings.web_name not in names:
                raise Denied(_NOT_A_CALL)
            return await self._resolve(request)
        if self._settings.gateway_name not in names:
            raise Denied(_NOT_A_CALL)
        ask = find_ask(request.method, request.raw_path)
        if ask is None:
            raise Denied(_NOT_A_CALL)
        pod = request.headers.getall("Broch-Pod", [])
        if len(pod) != 1 or (found := _POD.fullmatch(pod[0])) is None:
            raise Denied("The gateway does not say whose request this is.")
        project_id = found["project"].upper()
        with self._slots.hold_for({f"project:{project_id}": self._settings.project_requests}):
            return await self._for_zone(request, ask, project_id, pod[0])

    async def _for_zone(
        self, request: web.BaseRequest, ask: Ask, project_id: str, pod: str
    ) -> web.StreamResponse:
        allowed = self._lists.current()
        allowed.project(project_id)
        if ask.what is What.ABSENT:
            raise NotFound("There is no index in this form; the plain one is there.")
        if ask.what is What.RESOURCE:
            return await self._resource(request, ask, allowed, project_id, pod)
        assert ask.ecosystem is not None  # noqa: S101 - only resources have none
        try:
            if ask.what is What.FILE:
                return await self._file(request, ask, allowed, project_id, pod)
            return self._index(request, ask, allowed, project_id)
        except Unlisted:
            self._refusals.add(project_id, ask.ecosystem, ask.name or _name_in(ask.file))
            raise

    def _index(self, request: web.BaseRequest, ask: Ask, allowed: Allowed, project_id: str) -> web.Response:
        assert ask.ecosystem is not None  # noqa: S101 - seen before
        self._counts.add("indexes", ask.ecosystem.value)
        if ask.ecosystem is Ecosystem.PYPI:
            found = allowed.named(project_id, ask.ecosystem, ask.name)
            # Installers that know PEP 691 say so by name; everybody else gets what everybody reads.
            if indexes.SIMPLE_JSON in request.headers.get("Accept", ""):
                return _page(indexes.pypi_json(ask.name, found), indexes.SIMPLE_JSON)
            return _page(indexes.pypi_html(ask.name, found), "text/html")
        if ask.ecosystem is Ecosystem.NPM:
            versions = allowed.named(project_id, ask.ecosystem, ask.name)
            page = indexes.npm_packument(ask.name, versions, self._settings.shown_at)
            return _page(page, "application/json")
        page = self._made.get(allowed, (project_id, ask), lambda: _whole_index(allowed, project_id, ask))
        if ask.ecosystem is Ecosystem.CRAN:
            return _page(page, "application/gzip" if ask.packed else "text/plain")
        return _page(page, "application/json")

    async def _file(
        self, request: web.BaseRequest, ask: Ask, allowed: Allowed, project_id: str, pod: str
    ) -> web.StreamResponse:
        assert ask.ecosystem is not None  # noqa: S101 - seen before
        listed = _listed(allowed, project_id, ask)
        kind = _TYPES.get("." + ask.file.rpartition(".")[2], "application/octet-stream")
        if request.method == "HEAD":
            return _head(kind, listed.file.size)
        self._allowance.check(allowed.project(project_id), listed.file.size or 0)
        opened = await self._files.package(project_id, listed)
        fetch = Fetch(
            project_id=project_id,
            pod=pod,
            kind="package",
            ecosystem=ask.ecosystem,
            name=listed.package.name,
            version=listed.package.version,
            file=ask.file,
            sha256=opened.kept.sha256,
            size=opened.kept.size,
        )
        with opened.file:
            # A download takes minutes: whether it is still allowed, with these digests, is asked again.
            now = self._lists.current()
            again = _listed(now, project_id, ask)
            if not opened.kept.digests.issuperset(again.digests):
                raise Denied("What is allowed has changed. Try again.")
            return await self._serve(request, opened, fetch, now.project(project_id), kind)

    async def _resource(
        self, request: web.BaseRequest, ask: Ask, allowed: Allowed, project_id: str, pod: str
    ) -> web.StreamResponse:
        resource = allowed.resource(project_id, ask.name)
        self._allowance.check(allowed.project(project_id), 0)
        opened = await self._files.resource(project_id, resource)
        fetch = Fetch(
            project_id=project_id,
            pod=pod,
            kind="resource",
            name=ask.name,
            sha256=opened.kept.sha256,
            size=opened.kept.size,
        )
        with opened.file:
            now = self._lists.current()
            if now.resource(project_id, ask.name) != resource:
                raise Denied("What is allowed has changed. Try again.")
            return await self._serve(
                request, opened, fetch, now.project(project_id), "application/octet-stream"
            )

    async def _serve(
        self, request: web.BaseRequest, opened: Opened, fetch: Fetch, project: ProjectList, kind: str
    ) -> web.StreamResponse:
        """Serve a file whose bytes are right, once its record is written."""
        self._allowance.charge(project, fetch.size)
        try:
            await self._control.record(fetch)
        except BaseException:
            self._allowance.give_back(project, fetch.size)
            raise
        label = fetch.ecosystem.value if fetch.ecosystem else "resource"
        self._counts.add("served", label)
        self._counts.add("served_bytes", label, fetch.size)
        answer = web.StreamResponse(
            headers={"Content-Type": kind, "Content-Length": str(fetch.size), "Broch-Sha256": fetch.sha256}
        )
        await answer.prepare(request)
        try:
            while part := await asyncio.to_thread(opened.file.read, _PIECE):
                async with asyncio.timeout(self._settings.idle_seconds):
                    await answer.write(part)
            await answer.write_eof()
        except (aiohttp.ClientError, TimeoutError, OSError):
            # Half a file must not look like a whole one: the connection breaks instead.
            if request.transport is not None:
                request.transport.abort()
            raise
        return answer

    async def _resolve(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            raise Denied(_NOT_A_CALL)
        try:
            wanted = Wanted.model_validate_json(await request.read())
        except ValidationError as error:
            fields = ", ".join(sorted({str(part) for one in error.errors() for part in one["loc"][:1]}))
            raise Invalid(f"This is no package that could be looked up: {fields or 'the body'}.") from None
        registry = self._registries.get(wanted.ecosystem)
        if registry is None:
            raise Unavailable(f"No registry for {wanted.ecosystem.value} is set. Ask your administrator.")
        try:
            found = await registry.resolve(wanted)
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            # A registry may answer with any JSON; what it is read by expects some.
            log.warning("packages.odd_answer", ecosystem=wanted.ecosystem.value, error=repr(error)[:300])
            raise RegistryRefused("The registry says nothing sensible of this version.") from None
        return _page(found.model_dump_json().encode(), "application/json")


def _names(request: web.BaseRequest) -> Collection[str]:
    """Return the DNS names in the certificate that the caller showed."""
    shown = request.transport and request.transport.get_extra_info("peercert")
    return [name for kind, name in (shown or {}).get("subjectAltName", ()) if kind == "DNS"]


def _listed(allowed: Allowed, project_id: str, ask: Ask) -> Listed:
    assert ask.ecosystem is not None  # noqa: S101 - of a file
    return allowed.file(
        project_id,
        ask.ecosystem,
        ask.file,
        name=ask.name,
        version=ask.version,
        channel=ask.channel,
        subdir=ask.subdir,
    )


def _whole_index(allowed: Allowed, project_id: str, ask: Ask) -> bytes:
    if ask.ecosystem is Ecosystem.CRAN:
        return indexes.cran_packages(allowed.placed(project_id, Ecosystem.CRAN), packed=ask.packed)
    return indexes.conda_repodata(ask.subdir, allowed.placed(project_id, Ecosystem.CONDA, ask.channel))


def _page(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": kind})


def _head(kind: str, size: int | None) -> web.Response:
    length = {} if size is None else {"Content-Length": str(size)}
    return web.Response(headers={"Content-Type": kind, **length})


def _name_in(file: str) -> str:
    """Return the package's name in the name of a file of conda, whose addresses say it nowhere else."""
    return file.rsplit("-", 2)[0]
