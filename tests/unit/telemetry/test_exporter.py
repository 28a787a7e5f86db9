from __future__ import annotations

import gzip
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from hermes_ray.telemetry.exporter import Exporter
from hermes_ray.telemetry.figures import Figures
from tests.support.figures import figures_of
from tests.support.patience import PATIENCE

HOST = "127.0.0.1"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

_direct = build_opener(ProxyHandler({}))


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _serving(
    port: int | None = None,
    made: Callable[[], Figures | None] = figures_of,
    healthy: Callable[[], str | None] = lambda: None,
    host: str = HOST,
) -> Iterator[Exporter]:
    exporter = Exporter(host, _free_port() if port is None else port, made, healthy)
    try:
        yield exporter
    finally:
        exporter.close()


def _get(exporter: Exporter, path: str = "/metrics", **headers: str) -> tuple[int, str, bytes]:
    assert exporter.url is not None
    url = exporter.url.removesuffix("/metrics") + path
    try:
        answer = _direct.open(Request(url, headers=headers), timeout=PATIENCE * 20)
    except HTTPError as error:
        answer = error
    with answer:
        return answer.status or 0, answer.headers["Content-Type"], answer.read()


def test_a_scrape_in_either_format_is_read_by_its_strict_parser() -> None:
    with _serving() as exporter:
        status, kind, body = _get(exporter)
        assert (status, kind.partition(";")[0]) == (200, "text/plain")
        plain = {family.name for family in parse(body.decode())}
        status, kind, body = _get(exporter, Accept=OPENMETRICS)
        assert (status, kind.partition(";")[0]) == (200, "application/openmetrics-text")
        strict = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call]
        assert {family.name for family in strict} == plain
        assert "hermes_oldest_age_seconds" in plain
        _, _, packed = _get(exporter, **{"Accept-Encoding": "gzip"})
        assert b"hermes_oldest_age_seconds" in gzip.decompress(packed)


def test_a_scrape_may_ask_for_some_by_name() -> None:
    with _serving() as exporter:
        _, _, body = _get(exporter, "/metrics?name[]=queue_depth")
        assert [family.name for family in parse(body.decode())] == ["queue_depth"]


def test_each_scrape_takes_one_cut_and_the_next_a_newer_one() -> None:
    taken: list[float] = []

    def made() -> Figures:
        taken.append(1_000.0 + len(taken))
        return figures_of(at_s=taken[-1])

    with _serving(made=made) as exporter:
        _get(exporter)
        assert b"hermes_figures_timestamp_seconds 1001.0" in _get(exporter)[2]
    assert taken == [1_000.0, 1_001.0]


def test_health_is_a_word_or_what_is_wrong() -> None:
    wrong: list[str] = []
    with _serving(healthy=lambda: wrong[0] if wrong else None) as exporter:
        assert _get(exporter, "/healthz") == (200, "text/plain; charset=utf-8", b"ok\n")
        wrong.append("the last tick was 40 s ago")
        assert _get(exporter, "/healthz") == (503, "text/plain; charset=utf-8", b"the last tick was 40 s ago\n")


def test_only_a_get_is_answered() -> None:
    with _serving() as exporter:
        assert exporter.url is not None
        with pytest.raises(HTTPError, match="405"):
            _direct.open(Request(exporter.url, data=b"x"), timeout=PATIENCE * 20)


@pytest.mark.parametrize("path", ["/", "/metrics/x", "/favicon.ico"])
def test_nothing_else_is_there(path: str) -> None:
    with _serving() as exporter:
        assert _get(exporter, path)[0] == 404


def test_a_taken_port_means_no_metrics_and_a_sentence_that_says_what_to_do() -> None:
    with socket.create_server((HOST, 0)) as other, _serving(other.getsockname()[1]) as exporter:
        taken = other.getsockname()[1]
        assert exporter.url is None
        assert exporter.warning == (
            f"no metrics: metrics.port {taken} is taken on 127.0.0.1, by another deployment or another program: "
            "give this deployment another metrics.port, or 0 for none"
        )


def test_of_two_deployments_with_one_port_the_second_has_no_metrics_and_says_so() -> None:
    with _serving() as first, _serving(_port(first)) as second:
        assert (first.warning, second.url) == (None, None)
        assert "by another deployment" in (second.warning or "")
        assert _get(first)[0] == 200


def test_a_port_that_a_killed_predecessor_still_held_is_taken_over() -> None:
    with socket.create_server((HOST, 0)) as predecessor:
        port = predecessor.getsockname()[1]
        exporter = Exporter(HOST, port, figures_of, lambda: None)
    try:
        _wait_for_tries()
        assert (exporter.url, exporter.warning) == (f"http://127.0.0.1:{port}/metrics", None)
        assert _get(exporter)[0] == 200
    finally:
        exporter.close()


def test_a_successor_has_the_port_at_once_though_scrapers_hang_on() -> None:
    with _serving() as first:
        port = _port(first)
        with socket.create_connection((HOST, port)) as idle:
            _get(first)
            first.close()
            with _serving(port) as second:
                assert (second.url, second.warning) == (first.url, None)
                assert _get(second)[0] == 200
                assert idle.fileno() >= 0


def test_what_is_closed_while_its_port_is_taken_never_serves() -> None:
    with socket.create_server((HOST, 0)) as other:
        exporter = Exporter(HOST, other.getsockname()[1], figures_of, lambda: None)
        exporter.close()
    _wait_for_tries()
    assert exporter.url is None


def test_after_close_nobody_listens_and_closing_again_does_no_harm() -> None:
    with _serving() as exporter:
        port = _port(exporter)
        exporter.close()
        exporter.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))


def test_port_zero_serves_nothing() -> None:
    before = threading.active_count()
    with _serving(0) as exporter:
        assert (exporter.url, exporter.warning) == (None, None)
        assert threading.active_count() == before


def test_a_silent_client_keeps_no_other_waiting() -> None:
    with _serving() as exporter, socket.create_connection((HOST, _port(exporter))):
        assert _get(exporter)[0] == 200


def test_a_host_that_is_not_here_is_a_warning_of_one_sentence() -> None:
    exporter = Exporter("203.0.113.7", _free_port(), figures_of, lambda: None)
    assert exporter.url is None
    assert re.match(
        r"no metrics: nothing can listen on metrics.host '203.0.113.7', metrics.port", exporter.warning or ""
    )
    exporter.close()


def test_an_ipv6_address_is_written_as_one_in_the_url() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            port = probe.getsockname()[1]
    except OSError:
        pytest.skip("this machine has no IPv6")
    with _serving(port, host="::1") as exporter:
        assert exporter.url == f"http://[::1]:{port}/metrics"
        assert _get(exporter)[0] == 200


def _port(exporter: Exporter) -> int:
    assert exporter.url is not None
    return int(exporter.url.rpartition(":")[2].removesuffix("/metrics"))


def _wait_for_tries() -> None:
    """Wait until nobody tries for a port any more: it serves now, or was closed."""
    for thread in threading.enumerate():
        if thread.name == "metrics port":
            thread.join(5)
            assert not thread.is_alive()
