"""Broch's layout with TLS and two registrable domains, as bare as it can be: who gets which cookie back."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SHELL, OTHER_SHELL = "broch-shell.test", "elsewhere.test"
HUB, WORKSPACE = "hub.broch-work.test", "w1.hub.broch-work.test"
KINDS = {
    "__Host-lax": "SameSite=Lax",
    "__Host-none": "SameSite=None",
    "__Host-part": "SameSite=None; Partitioned",
}
"""The cookies that hub and workspace set, each in one way."""


def certificate(folder: Path) -> tuple[Path, str]:
    """Make a certificate for all names; return its file (with the key) and the digest that Chromium may be told."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broch test")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(host) for host in (SHELL, OTHER_SHELL, HUB, WORKSPACE)]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    file = folder / "tls.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file, base64.b64encode(hashlib.sha256(public).digest()).decode()


class Layout:
    """One listener for all names, and what each was sent."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: dict[str, set[str]] = {}
        """Names of cookies by `host path`."""

    def at(self, host: str, path: str = "/") -> str:
        """Return an address."""
        return f"https://{host}:{self.port}{path}"

    def answer(self, host: str, path: str) -> tuple[int, list[tuple[str, str]], str]:
        """Return status, headers and body of a page."""
        kept = [("Set-Cookie", f"{name}=1; Path=/; Secure; HttpOnly; {how}") for name, how in KINDS.items()]
        moves = {
            (HUB, "/begin"): self.at(SHELL, "/authorize"),
            (SHELL, "/authorize"): self.at(HUB, "/callback"),
            (HUB, "/callback"): self.at(WORKSPACE, "/lab"),
        }
        if (to := moves.get((host, path))) is not None:
            return 302, [("Location", to), *(kept if host == HUB else [])], ""
        if (host, path) == (WORKSPACE, "/lab"):
            script = (
                # Both have to have been here before the page is looked at; that the socket is refused is an answer too.
                "const tried = new Promise(told => { const s = new WebSocket('wss://' + location.host + '/socket');"
                "s.onopen = s.onerror = told; });"
                f"document.cookie = 'tossed=1; Secure; SameSite=None; Domain={SHELL}';"
                "Promise.all([tried, fetch('/api')]).then(() => { parent.postMessage('done', '*'); document.title = 'done'; })"
            )
            return 200, kept, f"<body>lab<script>{script}</script>"
        if path == "/" and host in {SHELL, OTHER_SHELL}:
            own = [("Set-Cookie", "__Host-shell=1; Path=/; Secure; HttpOnly; SameSite=Lax")]
            # The other shell frames the workspace itself: it has nothing to sign in with.
            first = self.at(HUB, "/begin") if host == SHELL else self.at(WORKSPACE, "/lab")
            frame = (
                f"<iframe src='{first}' sandbox='allow-scripts allow-same-origin allow-forms'></iframe>"
                "<script>onmessage = () => document.title = 'done'</script>"
            )
            return 200, own, f"<body>{frame}"
        return 200, [], "ok"


@contextmanager
def layout(folder: Path) -> Iterator[tuple[Layout, str]]:
    """Serve; yield the layout and the digest of its certificate's key."""
    file, digest = certificate(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers["Host"].partition(":")[0]
            names = {part.partition("=")[0].strip() for part in self.headers.get("Cookie", "").split(";")}
            made.seen.setdefault(f"{host} {self.path}", set()).update(names - {""})
            status, headers, body = made.answer(host, self.path)
            self.send_response(status)
            for name, value in [*headers, ("Content-Type", "text/html"), ("Content-Length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made = Layout(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made, digest
    finally:
        server.shutdown()
        server.server_close()
