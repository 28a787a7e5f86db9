"""The log of threads that carry everybody, whatever a user's log does."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hermes_ray import logs
from hermes_ray.logs import MOST_WAITING, Log, flush
from tests.support.live import ROOT

NAME = "tests.of.logs"
WITHIN_S = 20.0


class Stuck(logging.Handler):
    """Hangs at its first record, with its lock, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.released.wait(WITHIN_S)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    """A log of its own; what a test adds to its logger is taken away again."""
    logger = logging.getLogger(NAME)
    caplog.set_level(logging.INFO, NAME)
    yield Log(NAME)
    flush(WITHIN_S)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    for refusal in list(logger.filters):
        logger.removeFilter(refusal)


def needs_a_field(record: logging.LogRecord) -> bool:
    return bool(record.request_id)  # type: ignore[attr-defined]


def leaves(_record: logging.LogRecord) -> bool:
    raise SystemExit(3)


def test_a_line_is_as_its_caller_would_have_logged_it(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("in words")
    except ValueError:
        log.exception("%s failed", "it")
    log.info("and %d more", 2)
    log.debug("which nobody wants")
    flush(WITHIN_S)
    assert caplog.record_tuples == [(NAME, logging.ERROR, "it failed"), (NAME, logging.INFO, "and 2 more")]
    assert caplog.text.rstrip().splitlines()[-2] == "ValueError: in words"
    first, second = caplog.records
    assert (first.filename, first.funcName) == ("test_logs.py", "test_a_line_is_as_its_caller_would_have_logged_it")
    assert second.lineno == first.lineno + 1
    assert (first.threadName, first.thread) == (threading.current_thread().name, threading.get_ident())
    assert first.created <= second.created


@pytest.mark.parametrize("refusal", [needs_a_field, leaves])
def test_a_filter_that_raises_costs_its_line_alone(
    log: Log, caplog: pytest.LogCaptureFixture, refusal: logging._FilterType
) -> None:
    logger = logging.getLogger(NAME)
    logger.addFilter(refusal)
    log.warning("refused")
    flush(WITHIN_S)
    logger.removeFilter(refusal)
    log.warning("taken")
    flush(WITHIN_S)
    assert caplog.messages == ["taken"]


def test_what_a_users_record_factory_adds_is_there(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Traced(logging.LogRecord):
        trace_id = "7"

    monkeypatch.setattr(logging, "_logRecordFactory", Traced)
    log.warning("traced")
    flush(WITHIN_S)
    assert [getattr(record, "trace_id", None) for record in caplog.records] == ["7"]


def test_a_log_that_hangs_holds_nobody_up_and_what_it_cannot_take_is_counted(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Stuck()
    logging.getLogger(NAME).addHandler(stuck)
    log.warning("first")
    assert stuck.entered.wait(WITHIN_S)
    for number in range(MOST_WAITING + 5):
        log.warning("%d", number)
    flush(within_s=0.01)
    assert caplog.messages in ([], ["first"]), "it still hangs"
    stuck.released.set()
    flush(WITHIN_S)
    log.warning("last")
    flush(WITHIN_S)
    kept = [str(number) for number in range(MOST_WAITING)]
    said = "5 lines are missing here: those before them could not be written in time"
    assert caplog.messages == ["first", *kept, said, "last"]


def test_a_line_that_no_thread_can_be_started_for_comes_with_the_next(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(logs, "_lines", logs._Lines())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        log.warning("one")
    log.warning("two")
    flush(WITHIN_S)
    assert caplog.messages == ["one", "two"]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_logs_although_its_parents_log_hangs(log: Log) -> None:
    stuck = Stuck()
    logger = logging.getLogger(NAME)
    logger.addHandler(stuck)
    log.warning("hangs")
    assert stuck.entered.wait(WITHIN_S)
    readable, writable = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        logger.handlers = [logging.StreamHandler(open(writable, "w", closefd=False))]  # noqa: SIM115
        log.warning("of the child")
        flush(WITHIN_S)
        os._exit(0)
    os.close(writable)
    stuck.released.set()
    with open(readable) as written:
        assert written.read() == "of the child\n"
    assert os.waitpid(child, 0)[1] == 0


def test_the_last_line_of_a_process_is_written(log: Log) -> None:
    process = f"from hermes_ray.logs import Log; Log({NAME!r}).warning('the end')"
    done = subprocess.run([sys.executable, "-c", process], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "the end\n"


def test_all_that_a_worker_runs_logs_so() -> None:
    package = ROOT / "hermes_ray"
    paths = [path for part in ("broker", "worker") for path in (package / part).glob("*.py")]
    paths.append(package / "cluster/outlet.py")
    assert [path.name for path in paths if "getLogger(__name__)" in path.read_text(encoding="utf-8")] == []
