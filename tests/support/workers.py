"""Real workers without Ray: in this process with a test's own functions as handlers, or in one of their own."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from hermes_ray import Message
from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.worker.report import Report, decode
from hermes_ray.worker.spec import WorkerSpec
from hermes_ray.worker.worker import Worker
from tests.support.ledger import Ledger, until
from tests.support.reports import flat

QUEUE_KEYS = frozenset(QueueSpec.__dataclass_fields__)
ROOT = Path(__file__).parents[2]

_functions: dict[int, Callable[[Message], Any]] = {}
_numbers = count(1)


class Calls:
    """A handler that calls the function a test gave."""

    def __init__(self, number: int) -> None:
        self._function = _functions[number]

    def __call__(self, message: Message) -> None:
        self._function(message)

    def close(self) -> None:
        """Tell the gate the function belongs to, if any, in which thread it was closed."""
        gate = getattr(self._function, "__self__", None)
        if isinstance(gate, Gate):
            gate.closed_in = threading.current_thread().name


class Awaits(Calls):
    """The same, in the event loop."""

    async def __call__(self, message: Message) -> None:  # type: ignore[override]
        await self._function(message)

    async def close(self) -> None:  # type: ignore[override]
        super().close()


class Gate:
    """Holds the messages whose body is ``held`` in the handler until ``open``; notes every message once it is through.

    As ``handle`` for threads or ``handle_async`` for the event loop.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.entered: list[str | None] = []
        self.closed_in: str | None = None
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def handle(self, message: Message) -> None:
        self.entered.append(message.id)
        if message.body == b"held":
            assert self._open.wait(60)
        self.ledger.note(message)

    async def handle_async(self, message: Message) -> None:
        self.entered.append(message.id)
        if message.body == b"held":
            assert await asyncio.to_thread(self._open.wait, 60)
        self.ledger.note(message)


class Slow:
    """Takes ``seconds`` per message in its own ``way``, and writes into ``ledger`` when it is through."""

    def __init__(self, ledger: str, seconds: float, way: str = "sleep") -> None:
        self._path = ledger
        self._ledger = Ledger(Path(ledger))
        self._seconds = seconds
        self._way = way

    def __call__(self, message: Message) -> None:
        deadline_s = time.monotonic() + self._seconds
        if self._way == "sleep":
            time.sleep(self._seconds)
        if self._way == "lock":
            ctypes.PyDLL(None).usleep(int(self._seconds * 1e6))  # unlike CDLL, it keeps the interpreter's lock
        while time.monotonic() < deadline_s:  # with the interpreter's lock as much as it is given
            pass
        self._ledger.note(message)

    def close(self) -> None:
        """Leave a trace of having been closed."""
        Path(f"{self._path}.closed").touch()


class Terminated(Slow):
    """Is told to end while it is built."""

    def __init__(self, ledger: str) -> None:
        super().__init__(ledger, 0.0)
        os.kill(os.getpid(), signal.SIGTERM)


class SlowAsync(Slow):
    """The same, in the event loop, which it blocks."""

    async def __call__(self, message: Message) -> None:  # type: ignore[override]
        super().__call__(message)


class Diary:
    """The outlet of a worker in a test: keeps the last report, the phase of the first one, and the end."""

    def __init__(self, path: Path | None = None) -> None:
        self.ended = threading.Event()
        self.last: Mapping[str, Any] = {}
        self._path = path

    @property
    def node_id(self) -> str | None:
        return None

    def report(self, report: bytes) -> float:
        said = decode(report)
        assert isinstance(said, Report)
        self.last = {"first_phase": self.last.get("first_phase", said.phase), **flat(said)}
        if self._path is not None:
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(self.last))
            new.replace(self._path)
        return 0.1

    def end(self) -> None:
        self.ended.set()


class Working:
    """A worker at work in this process."""

    def __init__(self, worker: Worker, diary: Diary) -> None:
        self.worker = worker
        self.diary = diary

    def __getitem__(self, key: str) -> Any:
        """What the worker's report would say now."""
        return flat(self.worker.state())[key]

    def cut(self) -> None:
        """The connection that consumes is lost, that which publishes is not."""
        consumer = self.worker._consumer
        consumer._io.call(lambda: consumer._link.reset("cut"))

    def drain(self, timeout_s: float = 20.0) -> None:
        """Drain and wait for the end."""
        self.worker.drain(timeout_s)
        until(self.diary.ended.is_set, "the drained worker ends", timeout_s + 10)


def spec(url: str, handler: str, **settings: Any) -> WorkerSpec:
    """A worker of topic ``t`` on queue ``q``; ``settings`` are fields of ``WorkerSpec`` and ``QueueSpec``."""
    queue = {"topic": "t", "queue": "q", "rungs_ms": (100,), "routes": {"t": "q", "other": "other.q"}}
    queue |= {key: settings.pop(key) for key in QUEUE_KEYS & set(settings)}
    worker = {"deployment": "tests", "worker": f"t/{next(_numbers):08x}", "report_interval_s": 0.1} | settings
    ways: Any = {key: worker.pop(key) for key in ("heartbeat_s", "decoder", "ack_timeout_s") if key in worker}
    broker = BrokerSpec(urls=(url,), **ways)
    return WorkerSpec(broker=broker, handler=handler, queue=QueueSpec(**queue), **worker)  # type: ignore[arg-type]


@contextmanager
def working(url: str, handle: Callable[[Message], Any], **settings: Any) -> Iterator[Working]:
    """A worker that calls or awaits ``handle``, consuming inside; at the end it is drained or cut short."""
    number = next(_numbers)
    _functions[number] = handle
    handler = f"{__name__}:{'Awaits' if asyncio.iscoroutinefunction(handle) else 'Calls'}"
    what = spec(url, handler, options={"number": number}, **settings)
    diary = Diary()
    with ThreadPoolExecutor(1) as elsewhere:  # in the main thread it would take pytest's SIGTERM
        working = Working(elsewhere.submit(Worker, what, diary).result(), diary)
    try:
        until(lambda: working["phase"] == "consuming", "the worker consumes")
        yield working
    finally:
        working.worker.drain(0.2)
        assert diary.ended.wait(20), "the worker does not end"


class Started:
    """A worker in a process of its own; the file ``report`` has its last report."""

    def __init__(self, directory: Path, url: str, handler: str, **settings: Any) -> None:
        directory.mkdir(exist_ok=True)
        self.report = directory / "report"
        self.ledger = Ledger(directory / "ledger")
        settings["options"] = {"ledger": str(directory / "ledger"), **settings.get("options", {})}
        arguments = json.dumps([str(self.report), url, handler, settings])
        self.process = subprocess.Popen([sys.executable, "-m", __name__, arguments], cwd=ROOT)

    def last(self) -> dict[str, Any]:
        """The last report."""
        return json.loads(self.report.read_text()) if self.report.exists() else {}

    def says(self, key: str, value: Any) -> bool:
        """Whether that is what the last report says of ``key``."""
        return self.last().get(key) == value

    def end(self) -> None:
        """Kill what has not ended by itself."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Run one worker in this process until it has drained; SIGTERM drains it."""
    report, url, handler, settings = json.loads(sys.argv[1])
    settings["rungs_ms"] = (100,)
    diary = Diary(Path(report))
    worker = Worker(spec(url, handler, **settings), diary)
    while not diary.ended.wait(0.2):
        assert worker.ping()


if __name__ == "__main__":
    main()
