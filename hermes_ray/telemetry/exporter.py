"""Serves the metrics over HTTP, all of one moment."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from hermes_ray.errors import OperationFailed
from hermes_ray.telemetry.figures import Figures
from hermes_ray.telemetry.metrics import DEPLOYMENT_METRICS, TOPIC_METRICS, Buckets, Metric, Value

__all__ = ["Exporter", "FiguresCollector"]

log = logging.getLogger(__name__)

FURTHER_PORTS = 100
LAST_PORT = 65_535
SILENT_CLIENT_S = 10.0
SHUTDOWN_POLL_S = 0.1
FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
EVERYWHERE = ("0.0.0.0", "::")


class FiguresCollector(Collector):
    """All metrics of the figures there are at each scrape; before the first ones they have no samples."""

    def __init__(self, figures: Callable[[], Figures | None]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Family]:
        return _families(self._figures())

    def describe(self) -> Iterator[Family]:
        """The metrics there are: without them a scrape could not ask for some by name."""
        return _families(None)


class Exporter:
    """Serves ``/metrics`` and ``/healthz`` on ``host`` until closed, in threads of its own; port 0 serves nothing.

    If ``port`` is taken, it is the next free one of 100, and ``warning`` says so. ``url`` is where the metrics are,
    None with port 0 and where nothing can listen, of which ``warning`` tells too: a scaler works without metrics.
    ``healthy`` returns what is wrong in a sentence, None if nothing is.
    """

    def __init__(
        self, host: str, port: int, figures: Callable[[], Figures | None], healthy: Callable[[], str | None]
    ) -> None:
        self.url: str | None = None
        self.warning: str | None = None
        self._server: WSGIServer | None = None
        if port == 0:
            return
        registry = CollectorRegistry()
        registry.register(FiguresCollector(figures))
        try:
            self._server = server = _listen(host, port, _application(registry, healthy))
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


def _families(figures: Figures | None) -> Iterator[Family]:
    topics = list(figures.topics.values()) if figures else []
    for metric in TOPIC_METRICS:
        by_queue = metric.labels[0] == "queue_name"
        yield _family(metric, (([topic.queue if by_queue else topic.topic], metric.read(topic)) for topic in topics))
    for scalar in DEPLOYMENT_METRICS:
        yield _family(scalar, [([], scalar.read(figures))] if figures else [])


def _family(metric: Metric[Any], values: Iterable[tuple[list[str], Value]]) -> Any:
    family = FAMILIES[metric.kind](metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for labels, value in values:
        if isinstance(value, Buckets):
            family.add_metric(labels, _cumulative(value), value.sum_s)
        elif isinstance(value, Mapping):
            for key, number in value.items():
                family.add_metric([*labels, key], number)
        elif value is not None:
            family.add_metric(labels, value)
    return family


def _cumulative(buckets: Buckets) -> list[tuple[str, float]]:
    bounds = [*map(floatToGoString, buckets.bounds_s), "+Inf"]
    return list(zip(bounds, accumulate(buckets.counts or (0,) * len(bounds)), strict=True))


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


def _application(registry: CollectorRegistry, healthy: Callable[[], str | None]) -> WSGIApplication:
    metrics = make_wsgi_app(registry)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)  # type: ignore[no-any-return]
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
