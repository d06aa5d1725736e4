"""An OpenID provider that obeys a test: it answers as it is told, over real TLS, and counts who asks for what."""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc.jwk import RSAKey

from support.oidc import HOST

KEY = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


class Provider:
    """Answers as it is told; counts who asks for what."""

    def __init__(self, context: ssl.SSLContext) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                status, headers, body = provider.answers.get(self.path, (404, {}, b"{}"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if provider.slow:
                    time.sleep(provider.slow)
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.slow = 0.0
        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.issuer = f"https://{HOST}:{self._server.server_port}/realm"
        self.say("/realm/.well-known/openid-configuration", self.description())
        self.keys(KEY)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def description(self, **changed: Any) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/logout",
            **changed,
        }

    def say(self, path: str, document: Any, status: int = 200, **headers: str) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = (status, {"Content-Type": "application/json", **headers}, body)

    def keys(self, *keys: RSAKey) -> None:
        self.say("/realm/keys", {"keys": [key.as_dict(private=False) for key in keys]})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
