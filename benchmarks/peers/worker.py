"""hermes_ray as users run it: a whole worker, in a process of its own that ends with it."""

from __future__ import annotations

import os
import sys
import threading

from hermes_ray.broker.broker_spec import BrokerSpec
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.message import Message
from hermes_ray.worker.spec import WorkerSpec
from hermes_ray.worker.worker import Worker


def handle(_message: Message) -> None:
    return None


async def handle_async(_message: Message) -> None:
    return None


class Outlet:
    """Takes reports once a second and forgets them."""

    node_id = None

    def __init__(self) -> None:
        self.ended = threading.Event()

    def report(self, _report: bytes) -> float:
        return 1.0

    def end(self) -> None:
        self.ended.set()


def spec(url: str, queue: str, handler: str, **settings: int) -> WorkerSpec:
    """A worker of a classic queue; ``settings`` as in ``WorkerSpec``."""
    return WorkerSpec(
        deployment="bench",
        worker="bench/00000001",
        broker=BrokerSpec(urls=(url,)),
        queue=QueueSpec(topic="bench", queue=queue, queue_type="classic", routes={"bench": queue}),
        handler=handler,
        **settings,  # type: ignore[arg-type]
    )


def main() -> None:
    outlet = Outlet()
    worker_spec = spec(
        os.environ["BENCH_URL"],
        os.environ["BENCH_QUEUE"],
        f"{__spec__.name}:{sys.argv[1]}",
        prefetch=int(os.environ["BENCH_PREFETCH"]),
    )
    Worker(worker_spec, outlet)
    outlet.ended.wait()


if __name__ == "__main__":
    main()
