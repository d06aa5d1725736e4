"""Runs first inside a workspace: JupyterLab, on one machine on a listener made outside, on a cluster on port 8888.

Standard library until JupyterLab itself is imported.
"""

import contextlib
import gc
import importlib.util
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import MutableMapping
from pathlib import Path
from types import ModuleType

ARGUMENTS = (
    "--ServerApp.terminado_settings=shell_command=['/bin/bash']",
    "--FileContentsManager.delete_to_trash=False",
    "--LabApp.extension_manager=readonly",
    "--LabApp.news_url=None",
    "--LabApp.app_settings_dir=/opt/broch/settings",
    "--LabApp.extra_labextensions_path=/opt/broch/labextensions",
    "--KernelManager.shutdown_wait_time=2",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)
"""The same in every workspace; last on the command line, so that they hold."""
_PARTS = {"jupyter_lsp": False, "notebook_shim": False, "broch_inside.notices": True}
_TOGETHER = ("jupyter_server_fileid", "jupyter_server_ydoc")
"""Parts of the server by which people write together."""
OWN = (
    "--ServerApp.root_dir=/home/researcher",
    f"--ServerApp.jpserver_extensions={_PARTS | dict.fromkeys(_TOGETHER, False)}",
)
"""In one person's workspace."""
SHARED = (
    "--ServerApp.root_dir=/project",
    f"--ServerApp.jpserver_extensions={_PARTS | dict.fromkeys(_TOGETHER, True)}",
    # What was typed is in memory, beside it in /tmp, and a second later in the file, which alone is kept.
    "--YDocExtension.ystore_class=jupyter_server_ydoc.stores.TempFileYStore",
    "--YDocExtension.session_store_path=/tmp/collaboration-sessions.json",
    # Its usual place is a folder that nobody has made, where a home is empty.
    "--BaseFileIdManager.db_path=:memory:",
)
"""In the workspace that a project's members share: no home, so what is made lies in the project's folder."""
SHARED_SETTINGS = "/opt/broch/shared"
SERVER_PARTS = "/opt/broch/server"
"""Folder with our part of the server, the package `broch_inside`."""
ON_NETWORK = ("--ServerApp.ip=0.0.0.0", "--ServerApp.port=8888", "--ServerApp.port_retries=0")
"""In a pod: policies let the proxy in, and nobody else."""
TLS_KEY, TLS_CERTIFICATE = "BROCH_TLS_KEY", "BROCH_TLS_CERTIFICATE"
"""Variables of a pod: what the proxy knows this start's server by, PEM."""
NO_CERTIFICATE = 95
"""Exit status: a pod without them. One that nothing else uses."""
OUT_OF_MEMORY = 97
"""Exit status: the kernel ended a process of ours for want of memory. One that nothing else uses."""
CANNOT_SHARE = 96
"""Exit status: the image lacks what people write together by. One that nothing else uses."""
_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)
"""Of control groups of version 2 and 1: both have a line `oom_kill N`."""

_LATER = ("jupyterhub.orm", "jupyterhub.roles")
"""The hub's own database: its single-user server imports it, and never uses it. 0.2 s."""


def show_places() -> None:
    """Put links to /data, /imports and /project beside the person's own files, where the file browser starts."""
    for name in ("data", "imports", "project"):
        if os.path.isdir(f"/{name}"):  # noqa: PTH112
            with contextlib.suppress(OSError):
                os.symlink(f"/{name}", os.path.expanduser(f"~/{name}"))  # noqa: PTH111, PTH211


def killed_for_memory() -> int | None:
    """Return how many processes of this pod the kernel has ended for want of memory; None where it does not tell."""
    for file in _COUNTERS:
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text(encoding="ascii").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    return int(number)
    return None


def end_when_out_of_memory(every: float = 0.5) -> None:
    """End the workspace when the kernel ends a process of it: what is left cannot be relied on, and nobody says why.

    Control groups of version 2 end all of it by themselves; with this it is the same with version 1. What is said then
    comes from outside, where it is seen that memory was short.
    """
    before = killed_for_memory()

    def watch() -> None:
        while True:
            time.sleep(every)
            if (killed_for_memory() or 0) > (before or 0):
                os._exit(OUT_OF_MEMORY)

    if before is not None:
        threading.Thread(target=watch, name="memory", daemon=True).start()


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


def reach_packages() -> None:
    """Let package managers reach the zone's package route, where there is one. A convenience: Lab starts without it."""
    spec = importlib.util.spec_from_file_location("broch_packages", Path(__file__).with_name("packages.py"))
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.start(os.environ)


def arguments(environment: MutableMapping[str, str]) -> tuple[str, ...]:
    """Return the arguments of a person's own workspace or of a shared one, and set what the latter reads."""
    if environment.get("BROCH_SHARED") != "1":
        return (*ARGUMENTS, *OWN)
    if importlib.util.find_spec(_TOGETHER[-1]) is None:
        sys.stderr.write("This image cannot share notebooks: it lacks jupyter_collaboration.\n")
        sys.exit(CANNOT_SHARE)
    environment["JUPYTER_CONFIG_PATH"] = SHARED_SETTINGS
    return (*ARGUMENTS, *SHARED)


def by_tls(environment: MutableMapping[str, str]) -> tuple[str, str]:
    """Return the arguments by which a pod's server answers by TLS alone, and take what kernels need not inherit."""
    try:
        pair = environment.pop(TLS_KEY) + environment.pop(TLS_CERTIFICATE)
    except KeyError:
        sys.stderr.write("This pod got no certificate, so nobody could know that it is the one.\n")
        sys.exit(NO_CERTIFICATE)
    number, path = tempfile.mkstemp(prefix="tls-", suffix=".pem")  # its mode is 0600
    with os.fdopen(number, "w", encoding="ascii") as file:
        file.write(pair)
    return f"--ServerApp.keyfile={path}", f"--ServerApp.certfile={path}"


def main() -> None:
    """Serve on the descriptor named by the first argument, or without one on port 8888."""
    listener = int(sys.argv.pop(1)) if sys.argv[1:] and sys.argv[1].isdigit() else None
    sys.argv += arguments(os.environ)
    if listener is None:
        sys.argv += [*ON_NETWORK, *by_tls(os.environ)]
        # Connection files of kernels are of this start only, and homes may lie on a network.
        os.environ.setdefault("JUPYTER_RUNTIME_DIR", "/tmp/jupyter-runtime")  # noqa: S108 - the pod's own
        end_when_out_of_memory()
        reach_packages()
    gc.disable()  # importing makes many objects and no garbage
    show_places()
    lighten()
    sys.path.append(SERVER_PARTS)
    from jupyter_server import serverapp  # noqa: PLC0415
    from jupyterhub.singleuser import main as serve  # noqa: PLC0415

    if listener is not None:
        # It was made outside and handed in: nothing inside owns a path that could be swapped for a link.
        setattr(serverapp, "bind_unix_socket", lambda *_args, **_kwargs: socket.socket(fileno=listener))  # noqa: B010
    gc.enable()
    serve()


if __name__ == "__main__":
    main()
