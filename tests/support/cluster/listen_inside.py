"""Listeners that answer whoever reaches them. Runs in networks and pods of the tests: standard library, one file.

Arguments: `tcp:ADDRESS:PORT`, `udp:ADDRESS:PORT`, `dns:ADDRESS:PORT`, any number. Prints `ready` once all listen.
`tcp` answers with a small HTTP page, so that both a connection and a request find somebody there.
"""

import socket
import sys
import threading

_PAGE = (
    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\nConnection: close\r\n\r\nlistener"
)


def _answer_page(connection: socket.socket) -> None:
    with connection:
        connection.settimeout(5)
        try:
            if connection.recv(4096):
                connection.sendall(_PAGE)
        except OSError:
            return


def _serve_tcp(address: str, port: int) -> None:
    listener = socket.create_server((address, port), backlog=64)

    def loop() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer_page, args=(connection,), daemon=True).start()

    threading.Thread(target=loop).start()


def _serve_datagrams(address: str, port: int, *, names: bool) -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, port))

    def loop() -> None:
        while True:
            content, sender = listener.recvfrom(1500)
            if names:  # a resolver that knows every name: header with one answer, the question, 192.0.2.80
                answer = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x50"
                content = content[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + content[12:] + answer
            else:
                content = b"listener"
            listener.sendto(content, sender)

    threading.Thread(target=loop).start()


if __name__ == "__main__":
    for word in sys.argv[1:]:
        kind, address, port = word.split(":")
        if kind == "tcp":
            _serve_tcp(address, int(port))
        else:
            _serve_datagrams(address, int(port), names=kind == "dns")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
