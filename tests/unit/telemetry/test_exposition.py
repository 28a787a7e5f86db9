"""A scrape is made in pieces between which a tick goes first, and once for all who ask for the same figures."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from hermes_ray.telemetry import exposition as module
from hermes_ray.telemetry.exposition import Exposition, FiguresCollector
from hermes_ray.telemetry.metrics import DEPLOYMENT_METRICS, TOPIC_METRICS
from tests.support.figures import figures_of, orders

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Ticking(threading.Event):
    """``idle`` of a scaler whose tick runs until ``set``; counts who looks and who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = self.waits = 0
        self.waited_for = threading.Event()

    def is_set(self) -> bool:
        self.looks += 1
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        self.waited_for.set()
        return super().wait(timeout)


@pytest.fixture
def idle() -> Iterator[Ticking]:
    event = Ticking()
    event.set()
    yield event
    event.set()


def test_a_tick_may_go_first_before_each_topic_of_each_metric() -> None:
    looked: list[int] = []
    topics = [orders(topic=f"topic_{n}", queue=f"queue_{n}") for n in range(7)]
    collector = FiguresCollector(lambda: figures_of(*topics), lambda: looked.append(1))
    families = [list(family.samples) for family in collector.collect()]
    assert len(looked) == 7 * len(TOPIC_METRICS) + len(DEPLOYMENT_METRICS)
    assert all(families)


def test_a_scrape_waits_while_a_tick_runs_and_then_is_complete(idle: Ticking) -> None:
    exposition = Exposition(figures_of, idle)
    _, whole = exposition.render("", [], packed=False)
    idle.clear()
    fresh = Exposition(figures_of, idle)
    texts: list[bytes] = []
    scrape = threading.Thread(target=lambda: texts.append(fresh.render("", [], packed=False)[1]))
    scrape.start()
    assert idle.waited_for.wait(5)
    assert not texts
    idle.set()
    scrape.join(5)
    assert texts == [whole]


def test_a_tick_that_never_ends_does_not_hide_the_metrics(idle: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITED_S", 0.02)
    idle.clear()
    _, text = Exposition(figures_of, idle).render("", [], packed=False)
    assert b"hermes_figures_timestamp_seconds" in text
    assert idle.waits < 5, "the patience is for the whole scrape"


def test_two_scrapers_of_the_same_figures_share_a_text_and_new_figures_make_a_new_one(idle: Ticking) -> None:
    made = [figures_of(at_s=1.0)]
    exposition = Exposition(lambda: made[0], idle)
    _, first = exposition.render("", [], packed=False)
    pieces = idle.looks
    assert pieces > 0
    assert exposition.render("", [], packed=False)[1] is first
    headers, packed = exposition.render("", [], packed=True)
    assert gzip.decompress(packed) == first
    assert ("Content-Encoding", "gzip") in headers
    assert idle.looks == pieces + 2, "nothing was made again: each let a tick go first, no more"
    made[0] = figures_of(at_s=2.0)
    assert b"hermes_figures_timestamp_seconds 2.0" in exposition.render("", [], packed=False)[1]
    assert idle.looks == 2 * pieces + 2


def test_another_format_is_another_text(idle: Ticking) -> None:
    made = figures_of()
    exposition = Exposition(lambda: made, idle)
    plain, strict = (exposition.render(accept, [], packed=False) for accept in ("", OPENMETRICS))
    assert plain[1] != strict[1]
    assert strict[1].endswith(b"# EOF\n")
    assert [kind.partition(";")[0] for ((_, kind),) in (plain[0], strict[0])] == [
        "text/plain", "application/openmetrics-text"
    ]  # fmt: skip


def test_some_asked_for_by_name_are_no_text_for_those_who_ask_for_all(idle: Ticking) -> None:
    made = figures_of()
    exposition = Exposition(lambda: made, idle)
    _, some = exposition.render("", ["queue_depth"], packed=False)
    assert [family.name for family in parse(some.decode())] == ["queue_depth"]
    _, whole = exposition.render("", [], packed=False)
    assert len(list(parse(whole.decode()))) > 10


def test_before_the_first_figures_there_are_no_samples(idle: Ticking) -> None:
    _, text = Exposition(lambda: None, idle).render("", [], packed=False)
    assert b"# TYPE hermes_workers gauge" in text
    assert not any(family.samples for family in parse(text.decode()))
