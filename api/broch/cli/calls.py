"""Commands that call the API: each is a function of a `Call`; the options of the connection are added here, once."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from broch.cli import output
from broch.cli.client import Api, checked_server
from broch.cli.credentials import CredentialStore
from broch.cli.failure import Failure, Misused

_PANEL = "Connection and output"
ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", rich_help_panel=_PANEL, help="Which Broch; else BROCH_SERVER."),
]
AsOption = Annotated[
    str | None,
    typer.Option("--as", metavar="HANDLE", rich_help_panel=_PANEL, help="Sign in just for this command."),
]
JsonOption = Annotated[bool, typer.Option("--json", rich_help_panel=_PANEL, help="Print JSON.")]


@dataclass
class Globals:
    """Options given before the name of the command."""

    server: str | None = None
    handle: str | None = None


@dataclass(frozen=True)
class Call:
    """One command at work: the API as the person who is signed in, and how to print."""

    api: Api
    json: bool
    signed_in: bool

    def show(self, value: Any, people: Callable[[], None]) -> None:
        """Print an answer: as JSON if asked for, else by `people`."""
        if self.json:
            output.as_json(value)
        else:
            people()

    def done(self, value: Any, sentence: str) -> None:
        """Print what was done: the answer as JSON if asked for, else a sentence."""
        self.show(value, lambda: output.say(output.plain(sentence)))

    def rows(
        self,
        items: Sequence[Mapping[str, Any]],
        columns: Mapping[str, Callable[[Mapping[str, Any]], object]],
        *,
        empty: str,
    ) -> None:
        """Print a list: as JSON if asked for, else as a table."""
        cells = [[cell(item) for cell in columns.values()] for item in items] if not self.json else []
        self.show(list(items), lambda: output.table(list(columns), cells, empty=empty))


def server_address(given: str | None) -> str:
    """Return the origin of the server: as given, `BROCH_SERVER`, or the port of the settings on this machine.

    Raises:
        Misused: it is no address, or the settings cannot be read.
    """
    if address := given or os.environ.get("BROCH_SERVER"):
        return checked_server(address)
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import, and only needed here

    from broch_core.settings import Settings  # noqa: PLC0415 - the same

    try:
        return f"http://127.0.0.1:{Settings().port}"
    except (ValidationError, OSError, ValueError):
        raise Misused("The settings cannot be read.", "See what is wrong: broch config") from None


@contextmanager
def _connected(server: str | None, handle: str | None, *, json: bool) -> Iterator[Call]:
    address = server_address(server)
    with Api(address) as api:
        if handle is None:
            kept = CredentialStore().get(address)
            api.use(kept.token if kept else None)
            yield Call(api, json, signed_in=kept is not None)
            return
        api.use(api.post("sessions", {"handle": handle})["token"])
        try:
            yield Call(api, json, signed_in=True)
        finally:
            try:
                api.delete("sessions/current")
            except Failure as failure:
                output.note(f"broch: the session of this command was not ended: {failure.line()}")


def command(app: typer.Typer, name: str, *examples: str) -> Callable[[Callable[..., None]], None]:
    """Register a function of a `Call` and its own arguments as a command.

    Args:
        app: where.
        name: of the command.
        examples: command lines for its help.
    """

    def register(function: Callable[..., None]) -> None:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]  # the first one is the call
        shared = [
            inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for option, kind, default in (
                ("server", ServerOption, None),
                ("as_handle", AsOption, None),
                ("as_json", JsonOption, False),
            )
        ]
        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        keywords = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

        @functools.wraps(function)
        def run(
            context: typer.Context, *, server: str | None, as_handle: str | None, as_json: bool, **given: Any
        ) -> None:
            common = context.find_root().obj or Globals()
            with _connected(server or common.server, as_handle or common.handle, json=as_json) as call:
                function(call, **given)

        parameters = [context, *keywords, *shared]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, epilog=epilog(*examples))(run)

    return register


def epilog(*examples: str) -> str | None:
    """Return the end of a help text that teaches by example."""
    if not examples:
        return None
    shown = [f"  [bold]{example.replace('[', chr(92) + '[')}[/bold]" for example in examples]
    return "\n\n".join(["Examples:" if len(shown) > 1 else "Example:", *shown])


def group(summary: str, *examples: str) -> typer.Typer:
    """Return a group of commands."""
    return typer.Typer(
        help=summary,
        epilog=epilog(*examples),
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=False,
    )


def confirm(question: str, *, unasked: str = "Say --yes if you mean it.") -> None:
    """Go on only if a person says yes.

    Args:
        question: to them.
        unasked: what to do where nobody can be asked.

    Raises:
        Misused: nobody is there to answer.
        Failure: they said no.
    """
    try:
        agreed = typer.confirm(question, default=False, err=True)
    except (typer.Abort, EOFError):
        raise Misused("Nobody answered.", unasked) from None
    if not agreed:
        raise Failure("Nothing was done.")
