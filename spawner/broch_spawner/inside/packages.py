"""Inside a workspace's pod: lets pip, R, conda and npm reach the package route. Standard library only.

Package managers cannot show a token that changes every ten minutes and is bound to the pod. This listens where nobody
outside the pod reaches it, and passes what they ask on to the zone's gateway, with the token as it is at that moment.
"""

import contextlib
import http.client
import json
import os
import ssl
import sys
import threading
import urllib.parse
from collections.abc import MutableMapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT = 8899
ADDRESS = f"http://127.0.0.1:{PORT}"
_PASSED = ("/packages/", "/resources/")
_PYPI_INDEX = "/packages/pypi/simple/"
_SHOWN = ("Content-Type", "Content-Length", "Retry-After", "Broch-Sha256")
_AT_ONCE = 10
"""Requests at the gateway at once. It takes 16 of a pod, and the notebook has some of its own."""
_CONNECT_SECONDS = 10.0
_WAIT_SECONDS = 1900.0
"""How long the first byte may take: a large file is whole on the other side before it is passed on."""
_PIECE = 256 << 10


def settings_of_tools(home: str) -> dict[str, str]:
    """Return the environment that leads pip, R, conda and npm here, and to places that a researcher may write.

    Args:
        home: of the researcher.
    """
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {
        "PIP_INDEX_URL": f"{ADDRESS}/packages/pypi/simple/",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_DEFAULT_TIMEOUT": str(int(_WAIT_SECONDS)),
        "UV_DEFAULT_INDEX": f"{ADDRESS}/packages/pypi/simple/",
        "UV_HTTP_TIMEOUT": str(int(_WAIT_SECONDS)),
        # What is installed into the home (pip.conf of the image) is found before what the image has.
        "PYTHONPATH": f"{home}/.local/lib/python{python}/site-packages",
        "R_PROFILE": "/opt/broch/Rprofile",
        "R_LIBS_USER": f"{home}/R/library",
        # conda's own defaults are addresses outside, whatever the alias says.
        "CONDA_CHANNELS": "conda-forge",
        "CONDA_CHANNEL_ALIAS": f"{ADDRESS}/packages/conda",
        "CONDA_REMOTE_READ_TIMEOUT_SECS": str(int(_WAIT_SECONDS)),
        "npm_config_registry": f"{ADDRESS}/packages/npm/",
        "npm_config_prefix": f"{home}/.local",
        "npm_config_fetch_timeout": str(int(_WAIT_SECONDS * 1000)),
        "npm_config_maxsockets": str(_AT_ONCE),
        # Neither is on the gateway's list; without this npm waits for an answer.
        "npm_config_audit": "false",
        "npm_config_update_notifier": "false",
    }


class _Forwarder(BaseHTTPRequestHandler):
    """One request of a package manager."""

    protocol_version = "HTTP/1.1"
    server_version = "broch"
    sys_version = ""
    timeout = 60
    server: "_Server"

    def do_GET(self) -> None:
        """Pass it on."""
        self.close_connection = True
        if not self.path.startswith(_PASSED):
            self._refuse(404, "There is nothing here but packages and resources.")
            return
        with self.server.places:
            self._pass()

    def do_HEAD(self) -> None:
        """Pass it on; an answer has no body."""
        self.do_GET()

    def _pass(self) -> None:
        connection: http.client.HTTPConnection | None = None
        try:
            try:
                connection = self.server.connect()
                connection.request(self.command, self.path, headers=self._headers())
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._refuse(502, f"The gateway of this zone cannot be reached: {type(error).__name__}")
                return
            if answer.status == 403 and self._asks_by_pip():
                self._refuse_pip(answer.reason)
                return
            self.send_response(answer.status, answer.reason)
            for name in _SHOWN:
                if (value := answer.getheader(name)) is not None:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "GET":
                # An answer that is cut is shorter than it said to be, and who asked notices.
                while part := answer.read(_PIECE):
                    self.wfile.write(part)
        except (OSError, http.client.HTTPException):
            return
        finally:
            if connection is not None:
                connection.close()

    def _asks_by_pip(self) -> bool:
        return self.path.startswith(_PYPI_INDEX) and self.headers.get("User-Agent", "").startswith("pip/")

    def _refuse_pip(self, reason: str) -> None:
        """Say no in the one way that pip shows: it keeps a 403 of an index to itself, and warns of a strange type."""
        self.send_response(200)
        self.send_header("Content-Type", f"text/plain; refused={json.dumps(reason)}")
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()

    def _headers(self) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.server.token.read_text().strip()}"}
        # http.client would ask for packed answers otherwise, and the bytes are to stay as they are.
        headers["Accept-Encoding"] = "identity"
        if accept := self.headers.get("Accept"):
            headers["Accept"] = accept
        return headers

    def _refuse(self, status: int, reason: str) -> None:
        body = f"{reason}\n".encode()
        self.send_response(status, reason)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing: names of packages are not the log's business."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # How many may wait to be accepted. Each gets a thread then, and waits in it for a place: no bound, but it is this
    # person's own memory.
    request_queue_size = 64

    def __init__(self, gateway: str, token: Path, authority: str | None, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Forwarder)
        place = urllib.parse.urlsplit(gateway)
        if place.scheme != "https" or not place.hostname:
            raise ValueError("BROCH_DOOR_URL is no https address")
        self._host, self._port = place.hostname, place.port or 443
        self._context = ssl.create_default_context(cafile=authority)
        self.token = token
        self.places = threading.BoundedSemaphore(_AT_ONCE)

    def connect(self) -> http.client.HTTPSConnection:
        """Return a new connection to the gateway; it takes one request each."""
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=_CONNECT_SECONDS, context=self._context
        )
        connection.connect()
        connection.sock.settimeout(_WAIT_SECONDS)
        return connection

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that went away is no news."""


def start(environment: MutableMapping[str, str], port: int = PORT) -> _Server | None:
    """Listen in a thread, and have the tools of kernels and terminals come here.

    Args:
        environment: of this process, which they inherit; what is set there already is left alone.
        port: where to listen.

    Returns:
        The listener, or None where the zone has no package route or the port is taken.
    """
    if environment.get("BROCH_PACKAGES") != "1":
        return None
    with contextlib.suppress(OSError, KeyError, ValueError):
        server = _Server(
            environment["BROCH_DOOR_URL"],
            Path(environment["BROCH_DOOR_TOKEN_FILE"]),
            environment.get("SSL_CERT_FILE"),
            port,
        )
        threading.Thread(target=server.serve_forever, name="packages", daemon=True).start()
        home = environment.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - as pip finds it
        for name, value in settings_of_tools(home).items():
            environment.setdefault(name, value)
        with contextlib.suppress(OSError):
            # Python forgets a folder that is not there when it starts: what its own cell installs would not be found.
            Path(environment["PYTHONPATH"].split(os.pathsep)[0]).mkdir(parents=True, exist_ok=True)
        own = f"{home}/.local/bin"
        environment["PATH"] = f"{environment.get('PATH', os.defpath)}:{own}"
        return server
    return None
