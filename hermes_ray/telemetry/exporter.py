"""Serves the metrics over HTTP, all of one moment."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client.exposition import gzip_accepted

from hermes_ray.telemetry.exposition import Exposition
from hermes_ray.telemetry.figures import Figures

__all__ = ["Exporter"]

log = logging.getLogger(__name__)

SILENT_CLIENT_S = 10.0
SHUTDOWN_POLL_S = 0.1
PREDECESSOR_S = 10.0  # a scaler that was killed is gone by then, and its port free
TRY_EVERY_S = 0.2
EVERYWHERE = ("0.0.0.0", "::")


class Exporter:
    """Serves ``/metrics`` and ``/healthz`` on ``host`` until closed, in threads of its own; port 0 serves nothing.

    ``url`` is where the metrics are, None with port 0 and where nothing can listen, of which ``warning`` tells in a
    sentence: a scaler works without metrics. A taken port is tried again for ``PREDECESSOR_S``. ``healthy`` returns
    what is wrong in a sentence, None if nothing is; ``idle`` is cleared while a tick runs, for which a scrape waits.
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
        self._host, self._port = host, port
        self._server: WSGIServer | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        if port == 0:
            return
        if idle is None:
            idle = threading.Event()
            idle.set()
        self._application = _application(Exposition(figures, idle), healthy)
        if not self._serves():
            threading.Thread(target=self._try_again, name="metrics port", daemon=True).start()

    def close(self) -> None:
        """Stop serving; the port is free when it returns."""
        self._closed.set()
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _serves(self) -> bool:
        """Begin to serve; False where the port is taken, which may pass."""
        with self._lock:
            if self._closed.is_set():
                return True
            try:
                server = _listen(self._host, self._port, self._application)
            except (OSError, UnicodeError) as error:
                is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
                self.warning = f"no metrics: {self._why(error, is_taken)}"
                return not is_taken
            self._server, self.warning = server, None
            self.url = f"http://{_reachable(self._host)}:{self._port}/metrics"
        threading.Thread(target=server.serve_forever, args=(SHUTDOWN_POLL_S,), name="metrics", daemon=True).start()
        return True

    def _why(self, error: Exception, is_taken: bool) -> str:
        if not is_taken:
            return f"nothing can listen on metrics.host {self._host!r}, metrics.port {self._port}: {error}"
        return (
            f"metrics.port {self._port} is taken on {self._host}, by another deployment or another program: give this "
            "deployment another metrics.port, or 0 for none"
        )

    def _try_again(self) -> None:
        deadline_s = time.monotonic() + PREDECESSOR_S
        while not self._closed.wait(TRY_EVERY_S) and time.monotonic() < deadline_s:
            if self._serves():
                return


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_port = False  # a second scaler would share the port without an error, and a scrape reach either one

    def server_bind(self) -> None:
        """Bind without HTTPServer's getfqdn: a name server that does not answer would block the scaler's start."""
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
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    server = type("_Server", (_Server,), {"address_family": family})
    return make_server(host, port, application, server, _Request)


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
