"""A line to the broker on which little goes out at a time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_PIECE_BYTES = 65_536


@contextmanager
def slow_line(url: str, bytes_per_s: float) -> Iterator[tuple[str, list[socket.socket]]]:
    """The URL of a port that leads to that of ``url``, and the connections that were made to it so far."""
    parts = urlsplit(url)
    clients: list[socket.socket] = []
    relays: list[threading.Thread] = []
    pause_s = _PIECE_BYTES / bytes_per_s

    def accept(server: socket.socket) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = server.accept()
                clients.append(client)
                relays.append(threading.Thread(target=_relay, args=(client, parts.hostname, parts.port, pause_s)))
                relays[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _PIECE_BYTES)
        accepting = threading.Thread(target=accept, args=(server,))
        accepting.start()
        try:
            yield url.replace(f":{parts.port}/", f":{server.getsockname()[1]}/"), clients
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *relays):
                thread.join(20)


def _relay(client: socket.socket, host: str, port: int, pause_s: float) -> None:
    with client, socket.create_connection((host, port)) as broker:
        answers = threading.Thread(target=_pass_on, args=(broker, client, 0.0))
        answers.start()
        _pass_on(client, broker, pause_s)
        answers.join()


def _pass_on(source: socket.socket, target: socket.socket, pause_s: float) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
            time.sleep(pause_s)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
