"""Stands for door and hub behind a gateway: says what reached it. Run as `python gateway_upstream.py TLS ADDRESS PORT`."""

import asyncio
import hashlib
import json
import sys
from pathlib import Path

from aiohttp import web

from broch_core.tls import server_context


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    """Answer with the request, its body as a digest."""
    digest = hashlib.sha256()
    async for data in request.content.iter_any():
        digest.update(data)
    said = {
        "method": request.method,
        "target": request.raw_path,
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "sha256": digest.hexdigest(),
    }
    return web.Response(body=json.dumps(said).encode(), content_type="application/json")


async def main(tls: Path, address: str, port: int) -> None:
    """Serve until killed, to who shows a certificate."""
    server = await asyncio.get_running_loop().create_server(
        web.Server(handle), address, port, ssl=server_context(tls, clients=True)
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
