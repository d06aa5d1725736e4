"""A client that breaks the rules of HTTP, archives that burst, and what they may cost the server."""

import contextlib
import io
import socket
import struct
import zipfile
import zlib
from pathlib import Path

MIB = 1 << 20
GROWTH = 48 * MIB
"""How much more memory the web process may take at its peak. A few pieces of a body and a large answer: 48 MiB is far
below anything that was sent."""


@contextlib.contextmanager
def memory(pid, most=GROWTH):
    """Require that a process took at most so many bytes more at any moment than at the beginning."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak (VmHWM) begins anew, proc(5)
    before = resident(pid, "VmRSS")
    yield
    assert resident(pid, "VmHWM") - before <= most


def resident(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


class Line:
    """One raw connection that reads an answer while it sends."""

    def __init__(self, port) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.answer = b""

    def head(self, bad, who, method, target, *headers):
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: 127.0.0.1:{bad.port}",
            f"Authorization: {who.headers['authorization']}",
            *headers,
        ]
        return self.send("\r\n".join(lines).encode() + b"\r\n\r\n")

    def send(self, data):
        """Send; tell whether the other side still takes anything."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def look(self):
        """Take what has come without waiting."""
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self.answer += self.socket.recv(1 << 16)
        self.socket.settimeout(30)
        return self.answer

    def status(self):
        """Wait for the status of the answer."""
        while b"\r\n\r\n" not in self.answer:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                break
            if not data:
                break
            self.answer += data
        return int(self.answer.split()[1]) if self.answer else None


def zip_of_zeros(size):
    """Return a zip with one member that says and holds `size` zeros; its bytes are one block of deflate, repeated."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(b"\0" * MIB) + squeeze.flush(zlib.Z_FULL_FLUSH)
    content = block * (size // MIB) + squeeze.flush()
    extra = struct.pack("<HHQQ", 1, 16, size, len(content))
    name = b"zeros.csv"
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra))
    local = b"PK\3\4" + common + name + extra + content
    central = b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name + extra
    return local + central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def zip_of_files(number):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for index in range(number):
            archive.writestr(f"{index}.txt", b"")
    return held.getvalue()
