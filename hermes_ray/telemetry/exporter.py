"""Serves the metrics over HTTP, all of one moment."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client.exposition import gzip_accepted

from hermes_ray.errors import OperationFailed
from hermes_ray.telemetry.exposition import Exposition
from hermes_ray.telemetry.figures import Figures

__all__ = ["Exporter"]

log = logging.getLogger(__name__)

FURTHER_PORTS = 100
LAST_PORT = 65_535
SILENT_CLIENT_S = 10.0
SHUTDOWN_POLL_S = 0.1
EVERYWHERE = ("0.0.0.0", "::")


class Exporter:
    """Serves ``/metrics`` and ``/healthz`` on ``host`` until closed, in threads of its own; port 0 serves nothing.

    If ``port`` is taken, it is the next free one of 100, and ``warning`` says so. ``url`` is where the metrics are,
    None with port 0 and where nothing can listen, of which ``warning`` tells too: a scaler works without metrics.
    ``healthy`` returns what is wrong in a sentence, None if nothing is; ``idle`` is cleared while a tick runs, for
    which a scrape waits.
    """

    def __init__(
        self,
        host: str,
        port: int,
        figures: Callable[[], Figures | None],
        healthy: Callable[[], str | None],
        idle: threading.Event | None = None,
    ) -> None:
        self.url: str | None = None
        self.warning: str | None = None
        self._server: WSGIServer | None = None
        if port == 0:
            return
        if idle is None:
            idle = threading.Event()
            idle.set()
        try:
            self._server = server = _listen(host, port, _application(Exposition(figures, idle), healthy))
        except OperationFailed as error:
            self.warning = f"no metrics: {error}"
            return
        self.url = f"http://{_reachable(host)}:{server.server_port}/metrics"
        if server.server_port != port:
            self.warning = f"metrics.port {port} is taken: the metrics are at {self.url}"
        threading.Thread(target=server.serve_forever, args=(SHUTDOWN_POLL_S,), name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop serving; the port is free when it returns."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # two servers would share a port without a word

    def server_bind(self) -> None:
        """Without asking a name server for our name, as HTTPServer does: one that is silent would keep us waiting."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a client at %s went away", client_address)


class _Request(WSGIRequestHandler):
    timeout = SILENT_CLIENT_S

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def _listen(host: str, port: int, application: WSGIApplication) -> WSGIServer:
    last = min(port + FURTHER_PORTS, LAST_PORT)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        server = type("_Server", (_Server,), {"address_family": family})
        for candidate in range(port, last + 1):
            try:
                return make_server(host, candidate, application, server, _Request)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
    except (OSError, UnicodeError) as error:
        raise OperationFailed(f"nothing can listen on metrics.host {host!r}, metrics.port {port}: {error}") from error
    raise OperationFailed(
        f"metrics.port {port} and all up to {last} are taken on {host}: choose another, or 0 for none"
    )


def _reachable(host: str) -> str:
    name = socket.gethostname() if host in EVERYWHERE else host
    return f"[{name}]" if ":" in name else name


def _application(exposition: Exposition, healthy: Callable[[], str | None]) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case _ if environ["REQUEST_METHOD"] != "GET":
                return _text(start_response, "405 Method Not Allowed", "only GET is answered")
            case "/metrics":
                accept, encodings = (environ.get(f"HTTP_ACCEPT{name}", "") for name in ("", "_ENCODING"))
                names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]", [])
                headers, text = exposition.render(accept, names, packed=gzip_accepted(encodings))
                start_response("200 OK", headers)
                return [text]
            case "/healthz":
                trouble = healthy()
                status = "200 OK" if trouble is None else "503 Service Unavailable"
                return _text(start_response, status, trouble or "ok")
            case _:
                return _text(start_response, "404 Not Found", "there are only /metrics and /healthz")

    return application


def _text(start_response: StartResponse, status: str, text: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]
