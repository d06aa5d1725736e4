"""Runs first inside a workspace: JupyterLab on the listener that was made outside (standard library until then)."""

import contextlib
import gc
import importlib.util
import os
import socket
import sys
from types import ModuleType

_LATER = ("jupyterhub.orm", "jupyterhub.roles")
"""The hub's own database: its single-user server imports it, and never uses it. 0.2 s."""


def show_places() -> None:
    """Put links to /data, /imports and /project beside the person's own files, where the file browser starts."""
    for name in ("data", "imports", "project"):
        if os.path.isdir(f"/{name}"):  # noqa: PTH112
            with contextlib.suppress(OSError):
                os.symlink(f"/{name}", os.path.expanduser(f"~/{name}"))  # noqa: PTH111, PTH211


def lighten() -> None:
    """Keep out of the server's start what it never uses: 2.5 of 4 seconds. Kernels are processes of their own."""
    # jsonschema's check of the format `iri` builds a grammar for 1.3 s; without the module it has no such check,
    # and no schema of the server's asks for it.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    # jupyterhub.log wants one class of the hub's pages, to be silent about its health checks.
    handlers, pages = ModuleType("jupyterhub.handlers"), ModuleType("jupyterhub.handlers.pages")
    pages.HealthCheckHandler = type("HealthCheckHandler", (), {})  # type: ignore[attr-defined]
    handlers.__path__ = []
    sys.modules |= {module.__name__: module for module in (handlers, pages)}
    for name in _LATER:
        _import_on_first_use(name)


def _import_on_first_use(name: str) -> None:
    """See importlib.util.LazyLoader."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)


def main() -> None:
    """Serve on the descriptor named by the first argument."""
    listener = int(sys.argv.pop(1))
    gc.disable()  # importing makes many objects and no garbage
    show_places()
    lighten()
    from jupyter_server import serverapp  # noqa: PLC0415
    from jupyterhub.singleuser import main as serve  # noqa: PLC0415

    # The listener was made outside and handed in: nothing inside owns a path that could be swapped for a link.
    setattr(serverapp, "bind_unix_socket", lambda *_args, **_kwargs: socket.socket(fileno=listener))  # noqa: B010
    gc.enable()
    serve()


if __name__ == "__main__":
    main()
