"""What the demo sends: 90 seconds of traffic on three topics, and the ids that the broker confirmed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from hermes_ray.broker.outgoing import fresh
from hermes_ray.cli.load import Load
from hermes_ray.cli.publish_run import Run
from hermes_ray.errors import OperationFailed

__all__ = ["BURST", "BURST_TOPIC", "LOADS", "LOAD_S", "Traffic", "stepped_load"]

SEED = 4
ANSWER_WAIT_S = 15.0
BURST_TOPIC = "player_crawl"
BURST = (12.0, 30.0)  # early: a pool shrinks a minute after it was last needed, and the demo shall show that
LOAD_S = 90.0


def stepped_load(steps: Sequence[tuple[float, float]]) -> Load:
    """A load of steps (seconds, rate_hz): 10 s at 2/s, then 5 s at 8/s are 20 + 40 = 60 messages."""
    ends_s = accumulate(seconds for seconds, _ in steps)
    counts = accumulate(seconds * rate_hz for seconds, rate_hz in steps)
    return Load(points=((0.0, 0.0), *zip(ends_s, counts, strict=True)))


LOADS: Mapping[str, Load] = {
    "instance_store": stepped_load([(LOAD_S, 30.0)]),
    BURST_TOPIC: stepped_load([(BURST[0], 16.0), (BURST[1] - BURST[0], 85.0), (LOAD_S - BURST[1], 16.0)]),
    "character_fill": stepped_load([(6.0, 1.0), (10.0, 6.0), (14.0, 11.0), (15.0, 5.0), (45.0, 0.5)]),
}


class Traffic:
    """Plays ``LOADS``, each topic in a thread of its own; ``body(topic, n, rng)`` makes its n-th message."""

    def __init__(
        self, urls: Sequence[str], queues: Mapping[str, str], body: Callable[[str, int, random.Random], bytes]
    ) -> None:
        self.confirmed: dict[str, set[str]] = {topic: set() for topic in LOADS}
        self._body = body
        self._errors: list[OperationFailed] = []
        self._runs = {topic: Run(urls, name=f"demo/publish/{topic}", ids=self.confirmed[topic].add) for topic in LOADS}
        self._threads = [
            threading.Thread(target=self._play, args=(topic, queues[topic]), name=f"load {topic}", daemon=True)
            for topic in LOADS
        ]

    def start(self) -> None:
        """The load begins now."""
        for thread in self._threads:
            thread.start()

    @property
    def is_over(self) -> bool:
        """Whether everything was sent; raises what ended a topic's load early."""
        if self._errors:
            raise self._errors[0]
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self) -> None:
        """Wait for the broker's answers; raises ``OperationFailed`` if one of them is not a confirm, or is missing."""
        complete = [run.finish(ANSWER_WAIT_S) for run in self._runs.values()]
        for topic, run in self._runs.items():
            if not all(complete) or run.answers["confirmed"] < LOADS[topic].count:
                raise OperationFailed(f"the broker did not confirm every message of {topic}: {run.answers}")

    def _play(self, topic: str, queue: str) -> None:
        rng = random.Random(f"{SEED} {topic}")
        try:
            self._runs[topic].play(LOADS[topic], lambda n: fresh(queue, self._body(topic, n, rng)))
        except OperationFailed as error:
            self._errors.append(error)
