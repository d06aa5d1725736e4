"""Runs first inside a workspace: JupyterLab on the listener that was made outside (standard library until then)."""

import contextlib
import os
import socket
import sys


def show_places() -> None:
    """Put links to /data, /imports and /project beside the person's own files, where the file browser starts."""
    for name in ("data", "imports", "project"):
        if os.path.isdir(f"/{name}"):  # noqa: PTH112
            with contextlib.suppress(OSError):
                os.symlink(f"/{name}", os.path.expanduser(f"~/{name}"))  # noqa: PTH111, PTH211


def main() -> None:
    """Serve on the descriptor named by the first argument."""
    listener = int(sys.argv.pop(1))
    show_places()
    from jupyter_server import serverapp  # noqa: PLC0415
    from jupyterhub.singleuser import main as serve  # noqa: PLC0415

    # The listener was made outside and handed in: nothing inside owns a path that could be swapped for a link.
    setattr(serverapp, "bind_unix_socket", lambda *_args, **_kwargs: socket.socket(fileno=listener))  # noqa: B010
    serve()


if __name__ == "__main__":
    main()
