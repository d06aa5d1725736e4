"""A registry of Python packages (PEP 691) over TLS that prints what it is asked for, a line each. Standard library, one file.

Arguments: address, port, certificate, key, folder. A path that ends in a slash is the file `index.json` there.
"""

import socket
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_INDEX = "application/vnd.pypi.simple.v1+json"


class _Handler(BaseHTTPRequestHandler):
    timeout = 20
    root = Path()
    context: ssl.SSLContext

    def setup(self) -> None:
        # Here and not at the listener: who connects and says nothing keeps nobody else waiting.
        self.request.settimeout(self.timeout)
        self.request = self.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_GET(self) -> None:
        print(self.path, flush=True)  # noqa: T201 - what whoever runs it reads
        index = self.path.endswith("/")
        place = (self.root / self.path.lstrip("/") / ("index.json" if index else "")).resolve()
        if not place.is_relative_to(self.root) or not place.is_file():
            self.send_error(404)
            return
        body = place.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", _INDEX if index else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing more: what is printed is what was asked for."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Say nothing: who only looks whether somebody listens is no news."""


def main(address: str, port: str, certificate: str, key: str, folder: str) -> None:
    """Listen without end."""
    _Handler.root = Path(folder).resolve()
    _Handler.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _Handler.context.load_cert_chain(certificate, key)
    _Server((address, int(port)), _Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
