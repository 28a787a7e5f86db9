"""How old the depths of 1,000 topics are, and what it costs to know them.

A broker of its own with a main and a dead-letter queue for each topic, classic ones (1,000 quorum queues take minutes
to declare), and two wait queues for each tenth topic, one of which holds a message. ``python -m benchmarks.depth``
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
from collections.abc import Sequence

from hermes_ray.broker.connection import connect
from hermes_ray.broker.depth import DepthProber
from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import ensure, wait_arguments, wait_queue
from hermes_ray.core.retry_rungs import rungs_ms

RUNGS_MS = rungs_ms(60.0, 3600.0, 5)
WARM_UP_S, MEASURED_S, LOOK_S = 12.0, 25.0, 0.1
RETRYING_EACH = 10


def topologies(topic_count: int) -> list[TopicTopology]:
    """What the scaler of so many topics would probe."""
    names = [f"topic_{number}" for number in range(topic_count)]
    return [TopicTopology(topic=name, queue=f"{name}.q", queue_type="classic", rungs_ms=RUNGS_MS) for name in names]


def prepare(url: str, topics: Sequence[TopicTopology]) -> None:
    """Declare all queues, and leave a message in one wait queue of each tenth topic."""
    connection = connect([url], name="benchmark/setup")
    ensure(connection, topics)
    channel = connection.channel()
    for topic in topics[::RETRYING_EACH]:
        for delay_ms in RUNGS_MS[-2:]:
            queue = wait_queue(topic.queue, delay_ms)
            channel.queue_declare(queue, durable=True, arguments=wait_arguments(topic.queue, "classic", delay_ms))
        channel.basic_publish("", wait_queue(topic.queue, RUNGS_MS[-1]), b"{}")
    connection.close()


def thread_cpu_s(name: str) -> float:
    """CPU seconds of the one thread whose name starts with ``name``."""
    (thread,) = (thread for thread in threading.enumerate() if thread.name.startswith(name))
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def measure(broker: LocalBroker, topics: Sequence[TopicTopology]) -> dict[str, float]:
    """Ages, seconds from the first to the last depth of a pass, passes and CPU seconds per second, log lines."""
    prober = DepthProber([broker.url()], topics, name="benchmark")
    retrying = [topic.topic for topic in topics[::RETRYING_EACH]]
    lines = broker.log_text.count("not_found")
    prober.start()
    for topic in retrying:
        prober.waits_exist(topic, RUNGS_MS[-2:])
    time.sleep(WARM_UP_S)
    ages: list[float] = []
    spans: list[float] = []
    seen: set[float] = set()
    began_s, began_cpu_s = time.monotonic(), thread_cpu_s("depth ")
    while time.monotonic() < began_s + MEASURED_S:
        probes, now_s = prober.probes(), time.time()
        times = [probe.at_s for probe in probes.values()]
        ages += [now_s - at_s for at_s in times]
        spans.append(max(times) - min(times))
        seen.add(probes[topics[0].topic].at_s if topics[0].topic in probes else 0.0)
        time.sleep(LOOK_S)
    took_s, cpu_s = time.monotonic() - began_s, thread_cpu_s("depth ") - began_cpu_s
    known = sum(prober.probes()[topic].retrying_count for topic in retrying if topic in prober.probes())
    prober.stop()
    ages.sort()
    return {
        "topics": len(topics),
        "age_p50_s": round(ages[len(ages) // 2], 2),
        "age_p99_s": round(ages[len(ages) * 99 // 100], 2),
        "age_max_s": round(ages[-1], 2),
        "pass_s": round(statistics.median(spans), 2),
        "passes_per_s": round(len(seen) / took_s, 2),
        "cpu_ratio": round(cpu_s / took_s, 4),
        "not_found_lines": broker.log_text.count("not_found") - lines,
        "retrying_seen_ratio": known / len(retrying),
    }


def main() -> None:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--topics", type=int, nargs="+", default=[100, 1000])
    for topic_count in parser.parse_args().topics:
        with LocalBroker() as broker:
            topics = topologies(topic_count)
            prepare(broker.url(), topics)
            print(json.dumps(measure(broker, topics)), flush=True)


if __name__ == "__main__":
    main()
