"""The `broch` command. Each command lies in a module of its own, imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from broch.cli.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

_RUN, _WORK, _PROOF, _ACCOUNT, _DEVELOP = (
    "Run",
    "Work",
    "Prove",
    "Sign in",
    "Develop (in a checkout, as ./broch)",
)


@dataclass(frozen=True)
class Entry:
    """A command as the first help lists it, and where it lies."""

    module: str
    summary: str
    panel: str
    app: str = "app"
    """The `Typer` in the module, or a function that is the command."""
    hidden: bool = False


ENTRIES: Mapping[str, Entry] = {
    "up": Entry("broch.cli.up", "Run everything on this machine.", _RUN, "up"),
    "doctor": Entry(
        "broch.cli.doctor", "Say what is missing on this machine, and what mends it.", _RUN, "doctor"
    ),
    "config": Entry("broch.cli.config", "Show every setting with its reason.", _RUN, "config"),
    "keycloak": Entry("broch.cli.keycloak", "Make a Keycloak fit for signing in.", _RUN),
    "backup": Entry("broch.cli.backup", "Copy everything, also while it runs.", _RUN, "backup"),
    "migrate": Entry("broch.cli.migrate", "Bring a database server's schema up to date.", _RUN, "migrate"),
    "serve": Entry("broch.cli.serve", "Run one of the services (what up starts).", _RUN, hidden=True),
    "project": Entry("broch.cli.project", "Projects and their members.", _WORK),
    "workspace": Entry("broch.cli.workspace", "Your running notebooks.", _WORK),
    "dataset": Entry("broch.cli.dataset", "Datasets, versions, grants, permissions to export.", _WORK),
    "packages": Entry("broch.cli.packages", "What workspaces may fetch from PyPI, CRAN, conda, npm.", _WORK),
    "freeze": Entry("broch.cli.freeze", "Stop the whole TRE at once.", _WORK, "freeze_app"),
    "unfreeze": Entry("broch.cli.freeze", "Let a frozen TRE go on.", _WORK, "unfreeze_app"),
    "people": Entry("broch.cli.people", "Who is here, and in which role.", _WORK),
    "airlock": Entry("broch.cli.airlock", "Bring files in, let results out, review.", _WORK),
    "audit": Entry("broch.cli.audit", "Read, check and export the audit log.", _PROOF),
    "verify": Entry("broch.cli.verify", "Check released files against their receipt, offline.", _PROOF),
    "login": Entry("broch.cli.account", "Sign in.", _ACCOUNT, "login_app"),
    "logout": Entry("broch.cli.account", "Sign out.", _ACCOUNT, "logout_app"),
    "whoami": Entry("broch.cli.account", "Say who is signed in.", _ACCOUNT, "whoami_app"),
    "test": Entry("", "Run the tests.", _DEVELOP),
    "lint": Entry("", "Judge format, rules, types, layers, locks.", _DEVELOP),
    "bench": Entry("", "Measure.", _DEVELOP),
    "lock": Entry("", "Make the locks anew.", _DEVELOP),
    "images": Entry("", "Make container images.", _DEVELOP),
}


class LazyCommands(TyperGroup):
    """Knows every command by name and summary; imports the one that is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._listing = False
        for name, entry in ENTRIES.items():
            self.add_command(
                TyperCommand(
                    name, help=entry.summary, rich_help_panel=entry.panel, hidden=entry.hidden, callback=None
                )
            )

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Return a command: its summary while help is written, else the command itself."""
        entry = ENTRIES.get(cmd_name)
        if entry is None or self._listing:
            return super().get_command(ctx, cmd_name)
        if not entry.module:
            raise Failure(
                f"'{cmd_name}' is for developers and runs in a checkout.", f"There: ./broch {cmd_name}"
            )
        found = getattr(importlib.import_module(entry.module), entry.app)
        if not isinstance(found, typer.Typer):  # a plain function is a command by itself
            alone = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
            alone.command(cmd_name)(found)
            found = alone
        return typer.main.get_command(found)

    def format_help(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """Write help from the summaries, without importing the commands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run a command; a failure is one line and an exit code."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            sys.stdout.flush()
            sys.stderr.write(f"broch: {failure.line()}\n")
            raise typer.Exit(failure.code) from None


app = typer.Typer(
    cls=LazyCommands,
    name="broch",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # a pretty traceback shows local variables, and tokens are among them
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Start here:\n\n"
        "  [bold]broch up[/bold]                                   a whole Broch with demo data, on this machine\n\n"
        "  [bold]broch login --as ada[/bold]                       be a researcher (demo)\n\n"
        "  [bold]broch airlock list[/bold]                         what is on its way in or out\n\n"
        "  [bold]broch COMMAND --help[/bold]                       every command shows an example\n\n"
        "Exit codes: 0 done, 1 refused or not verified, 2 wrong words, 3 no server answers."
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - only needed here

        typer.echo(f"broch {version('broch')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="Which Broch to talk to; else BROCH_SERVER.")
    ] = None,
    handle: Annotated[
        str | None, typer.Option("--as", metavar="HANDLE", help="Sign in just for this command (demo).")
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Broch, a Trusted Research Environment: sensitive data stay, researchers come, and every release has proof."""
    if server is not None or handle is not None:
        from broch.cli.calls import Globals  # noqa: PLC0415 - `verify` needs nothing of it

        context.obj = Globals(server, handle)


def main() -> None:
    """Run the command line."""
    app(prog_name="broch")


if __name__ == "__main__":
    main()
