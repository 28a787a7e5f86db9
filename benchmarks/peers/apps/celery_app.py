"""Celery: `celery --app celery_app worker`; run as a script it sends one task."""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-not-found]

app = Celery(broker=os.environ["BENCH_URL"])
app.conf.update(
    task_default_queue=os.environ["BENCH_QUEUE"],
    worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]) // int(os.environ["BENCH_PROCESSES"]),
    worker_enable_remote_control=False,
)


def handle(_body: str) -> None:
    return None


task = app.task(handle, name="handle", ignore_result=True)

if __name__ == "__main__":
    task.delay(os.environ["BENCH_BODY"])
