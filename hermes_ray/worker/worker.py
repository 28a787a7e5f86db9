"""One worker: consumes a queue, runs its handler in slots, reports, drains, ends itself.

It works without the scaler; what it needs of Ray comes in as an ``Outlet``, so that it runs in a plain process too.
"""

from __future__ import annotations

import math
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from typing import Any

from msgspec import structs

from hermes_ray.broker.consumer import Consumer
from hermes_ray.broker.consumer_ports import ConsumerEvents
from hermes_ray.broker.outgoing import encode_headers
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.logs import Log, flush
from hermes_ray.worker.collector import spare_the_collector, watch_memory
from hermes_ray.worker.counters import Counters
from hermes_ray.worker.handlers import import_from, load_handler, run_close
from hermes_ray.worker.loop_slots import LoopSlots
from hermes_ray.worker.prefetch import RecentRuns, prefetch_count, slots_per_worker
from hermes_ray.worker.report import Phase, Report, encode
from hermes_ray.worker.sigterm import on_sigterm
from hermes_ray.worker.spec import Outlet, WorkerSpec
from hermes_ray.worker.standstill import Standstill
from hermes_ray.worker.thread_slots import ThreadSlots
from hermes_ray.worker.time_limits import TimeLimits

__all__ = ["Worker"]

log = Log(__name__)

PREFETCH_CHANGE_RATIO = 1.5
PREFETCH_LOOK_EVERY_S = 1.0
PREFETCH_LOWER_AFTER_S, PREFETCH_RAISE_AFTER_S = 2.0, 15.0  # a consumer is replaced for it
REPORT_SPREAD = (0.9, 1.1)
LOST_REASON_CHARACTERS = 200


class Worker:
    """Consumes from its construction until ``drain`` or SIGTERM; all methods answer at once."""

    def __init__(self, spec: WorkerSpec, outlet: Outlet) -> None:
        self._spec = spec
        self._queue = spec.queue
        self._settings = spec.queue.settings
        self._outlet = outlet
        self._changed = threading.Event()
        self._draining = threading.Event()
        self._drain_within_s = spec.drain_timeout_s
        self._drained = False
        is_main = threading.current_thread() is threading.main_thread()
        see_to_sigterm = on_sigterm(self._drain_on_signal) if is_main else None
        import_from(spec.import_paths)
        self._handler = load_handler(spec.handler, spec.options)
        if see_to_sigterm is not None:
            see_to_sigterm()
        self._concurrency = slots_per_worker(spec.concurrency, spec.prefetch, self._handler.default_concurrency)
        self._standstill = Standstill()
        slots = LoopSlots if self._handler.is_async else ThreadSlots
        self._slots = slots(self._handler, spec.queue.topic, self._concurrency, self._check_publish, self._standstill)
        self._failed: set[str] = set()  # what has been told to have failed
        self._killed_count = 0
        self._seq = 0
        self._busy_s = 0.0
        self._consumer = Consumer(
            spec.broker,
            spec.queue,
            name=f"{spec.deployment}/{spec.worker}",
            prefetch=spec.prefetch or prefetch_count(None, self._concurrency),
            prefetch_bytes=spec.prefetch_bytes,
            concurrency=self._concurrency,
            slots=self._slots,
            events=ConsumerEvents(changed=self._changed.set, crashed=_end_at_once, forgotten=self._replace),
        )
        self._limits = TimeLimits(
            self._slots,
            self._handler,
            timeout_s=spec.timeout_s,
            is_overdue=self._consumer.is_overdue,
            settle=self._consumer.settle,
            on_counted_out=self._replace,
        )
        spare_the_collector()
        watch_memory()
        # It is heard of before it consumes: a first handler that keeps the interpreter would let no word out.
        interval_s = self._outlet.report(encode(self._report()))
        self._slots.start(self._consumer.settle)
        self._consumer.start()
        self._limits.start()
        threading.Thread(target=self._adapt_prefetch_for_ever, name="prefetch", daemon=True).start()
        threading.Thread(target=self._report_for_ever, args=(interval_s,), name="reports", daemon=True).start()
        # Here: when it is asked to drain there may be no room for one more thread.
        threading.Thread(target=self._drain_once_asked, name="drain", daemon=True).start()

    def __repr__(self) -> str:
        return f"Worker({self._spec.worker})"

    def ping(self) -> str:
        """The worker's name, at once."""
        return self._spec.worker

    def state(self) -> Report:
        """What the next report would say."""
        return self._report()

    def running_count(self) -> int:
        """Handlers that run now."""
        return self._slots.figures().running_count

    def adapt(self, queue: QueueSpec) -> None:
        """Retry and publish by ``queue`` from now on; the queue itself stays the same."""
        self._consumer.adapt(queue)  # first: handlers may publish to what _queue has
        self._queue = queue
        self._settings = queue.settings
        self._changed.set()

    def drain(self, timeout_s: float | None = None) -> None:
        """Stop consuming, give back what no handler saw, finish what can within ``timeout_s``, then end."""
        if not self._draining.is_set():
            self._drain_within_s = self._spec.drain_timeout_s if timeout_s is None else timeout_s
            self._draining.set()

    def _replace(self) -> None:
        """This worker is not what it was, as a handler keeps a slot for ever: one that drains is replaced."""
        self.drain()

    def _drain_on_signal(self) -> None:
        log.info("%s: SIGTERM, draining", self._spec.worker)
        self.drain()

    def _drain_once_asked(self) -> None:
        self._draining.wait()
        self._changed.set()
        deadline_s = time.monotonic() + self._drain_within_s
        for step in (self._stop_consuming, self._finish, self._close):
            with self._skipped_if_it_fails("part of a drain"):
                step(deadline_s)
        self._drained = True
        self._changed.set()

    def _stop_consuming(self, deadline_s: float) -> None:
        stopped = self._consumer.stop_consuming()
        while True:
            agreed = stopped.wait(0.02)
            self._consumer.give_back(self._slots.take_back())
            if agreed or time.monotonic() > deadline_s:
                break

    def _finish(self, deadline_s: float) -> None:
        while self._slots.at_work_count() and time.monotonic() < deadline_s:
            time.sleep(0.02)

    def _close(self, deadline_s: float) -> None:
        self._consumer.close(max(0.1, deadline_s - time.monotonic()))
        self._killed_count = self._slots.figures().running_count
        run_close(self._handler, self._slots.run)

    @contextmanager
    def _skipped_if_it_fails(self, what: str) -> Iterator[None]:
        """A round of a thread that others count on: whatever goes wrong in one is told once, and another comes."""
        try:
            yield
        except Exception:
            if what not in self._failed:
                self._failed.add(what)
                log.exception("%s: %s failed; it goes on", self._spec.worker, what)

    def _check_publish(self, topic: str | None, headers: Mapping[str, Any]) -> bytes:
        routes = self._queue.routes
        if topic is not None and topic not in routes:
            raise ValueError(f"this deployment has no topic {topic!r} to publish to, only {', '.join(sorted(routes))}")
        return encode_headers(headers)

    def _report_for_ever(self, wanted_s: float | None) -> None:
        interval_s = self._spec.report_interval_s if wanted_s is None else wanted_s
        drained = False
        while not drained:
            # Spread: workers that started together, or that a scaler's absence has kept waiting, would report together.
            self._standstill.wait(self._changed, interval_s * random.uniform(*REPORT_SPREAD))
            self._changed.clear()
            drained = self._drained
            with self._skipped_if_it_fails("a report"):
                wanted_s = self._outlet.report(encode(self._report()))
                # While no scaler answers, the last interval goes on: many workers would overrun the one that returns.
                interval_s = interval_s if wanted_s is None else wanted_s
        self._outlet.end()

    def _adapt_prefetch_for_ever(self) -> None:
        recent, changed_s = RecentRuns(self._concurrency), -math.inf
        recent.note(time.monotonic(), 0, 0.0)
        while not self._draining.wait(PREFETCH_LOOK_EVERY_S):
            with self._skipped_if_it_fails("a look at the prefetch"):
                changed_s = self._adapt_prefetch(recent, changed_s)

    def _adapt_prefetch(self, recent: RecentRuns, changed_s: float) -> float:
        """When it was changed last."""
        runs, now_s, now = self._slots.figures().runs, time.monotonic(), self._consumer.prefetch
        recent.note(now_s, runs.finished, runs.busy_s)
        wanted = self._spec.prefetch or prefetch_count(recent.service_s(), self._concurrency)
        wanted = min(wanted, self._consumer.most_by_bytes)
        # Fewer than slots are held for their size alone: once that has passed the slots are not to wait.
        is_soon = wanted < now or now < self._concurrency
        is_due = now_s - changed_s > (PREFETCH_LOWER_AFTER_S if is_soon else PREFETCH_RAISE_AFTER_S)
        if not is_due or 1 / PREFETCH_CHANGE_RATIO < wanted / now < PREFETCH_CHANGE_RATIO:
            return changed_s
        self._consumer.set_prefetch(wanted)
        return now_s

    def _phase(self) -> Phase:
        if self._drained:
            return Phase.DRAINED
        if self._draining.is_set():
            return Phase.DRAINING
        return Phase.CONSUMING if self._consumer.consuming else Phase.CONNECTING

    def _report(self) -> Report:
        self._seq += 1
        consumer, slots = self._consumer, self._slots.figures()
        (unmovable_count, unmovable_reason), hung = consumer.unmovable, self._limits.hung(time.monotonic())
        # A slot that ends while it is read has cleared its start but not yet added its time: without max the total
        # would go back.
        self._busy_s = max(self._busy_s, slots.runs.busy_s)
        return Report(
            worker=self._spec.worker,
            seq=self._seq,
            phase=self._phase(),
            pid=os.getpid(),
            node_id=self._outlet.node_id,
            revision=self._spec.revision,
            settings=self._settings,
            concurrency=self._concurrency,
            prefetch=consumer.prefetch,
            held_count=consumer.held_count,
            running_count=slots.running_count,
            longest_running_s=slots.longest_running_s,
            killed_count=self._killed_count,
            lost_reason=None if consumer.lost_reason is None else consumer.lost_reason[:LOST_REASON_CHARACTERS],
            wait_rungs_ms=tuple(sorted(consumer.wait_rungs_ms)),
            unmovable_count=unmovable_count,
            unmovable_reason=None if unmovable_reason is None else unmovable_reason[:LOST_REASON_CHARACTERS],
            hung_count=hung.count,
            hung_s=hung.seconds,
            hung_id=None if hung.message_id is None else hung.message_id[:LOST_REASON_CHARACTERS],
            counters=Counters(
                settlements=copy(consumer.counts),
                runs=structs.replace(slots.runs, busy_s=self._busy_s),
                reconnects=consumer.reconnect_count,
            ),
        )


def _end_at_once() -> None:
    flush()  # the last line says why
    os._exit(1)
