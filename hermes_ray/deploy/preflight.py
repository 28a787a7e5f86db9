"""Trying handlers on the cluster as workers would have them, before anything that runs is touched."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hermes_ray.broker.connection import connect
from hermes_ray.cluster.tasks import TaskDied, TaskFailed, TaskTimedOut, start_once
from hermes_ray.config.settings import Config
from hermes_ray.errors import HermesError, OperationFailed
from hermes_ray.scaler.plan import digest
from hermes_ray.worker.handlers import import_from, load_handler, run_close
from hermes_ray.worker.prefetch import slots_per_worker

__all__ = ["import_paths", "try_handlers"]

LOAD_TIMEOUT_S = 120.0
PROCESSES_AT_ONCE = 8


def import_paths() -> tuple[str, ...]:
    """Where this process's handlers are: its working directory, then its PYTHONPATH."""
    listed = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    return tuple(dict.fromkeys(str(Path(path).resolve()) for path in (os.curdir, *listed)))


def try_handlers(config: Config, topics: Iterable[str], paths: tuple[str, ...]) -> dict[str, int]:
    """Slots per worker of each topic, once its handler was imported and built, and its process reached the broker.

    A few at once, each in a process of its own that reserves nothing; topics that share a handler and its options share
    a process. Without any ``broker.urls`` handlers alone are tried. Raises ``OperationFailed`` with the text of the
    first that fails.
    """
    chosen = {topic: digest([config.topics[topic].handler, config.topics[topic].options]) for topic in topics}
    first_of = {handler: topic for topic, handler in reversed(chosen.items())}
    slots: dict[str, int] = {}
    waiting, running = deque(first_of.items()), deque[tuple[str, str, Any]]()
    while waiting or running:
        while waiting and len(running) < PROCESSES_AT_ONCE:
            handler, topic = waiting.popleft()
            running.append((handler, topic, _start(config, topic, paths)))
        handler, topic, collect = running.popleft()
        slots[handler] = _slots(config, topic, collect)
    workers = {topic: config.topics[topic].worker for topic in chosen}
    return {
        topic: slots_per_worker(workers[topic].concurrency, workers[topic].prefetch, slots[handler])
        for topic, handler in chosen.items()
    }


def _start(config: Config, topic: str, paths: tuple[str, ...]) -> Any:
    chosen = config.topics[topic]
    name = f"{config.deployment.name}/{topic}/preflight"
    return start_once(_loaded_once, chosen.handler, chosen.options, paths, config.broker.urls, name)


def _slots(config: Config, topic: str, collect: Any) -> int:
    chosen = config.topics[topic]
    try:
        default: int = collect(LOAD_TIMEOUT_S)
    except TaskTimedOut as error:
        raise OperationFailed(
            f"topic {topic}: handler {chosen.handler} did not load in {LOAD_TIMEOUT_S:.0f} s"
        ) from error
    except TaskDied as error:
        raise OperationFailed(
            f"topic {topic}: handler {chosen.handler} ends its process while it is imported or built, by os._exit or a "
            "crash of native code: correct it"
        ) from error
    except TaskFailed as error:
        text = str(error) if error.is_its_own else f"{chosen.handler} cannot be tried: {error}"
        raise OperationFailed(f"topic {topic}: {text}") from error
    return default


def _loaded_once(
    handler: str, options: Mapping[str, Any], paths: tuple[str, ...], urls: tuple[str, ...], name: str
) -> int:
    import asyncio

    import_from(paths)
    try:
        loaded = load_handler(handler, options)
    except HermesError:
        raise
    except BaseException as error:  # such as KeyboardInterrupt: Ray would tell of a task that was cancelled
        said = f"handler {handler} raises {type(error).__name__} while it is imported or built: correct it"
        raise OperationFailed(said) from error
    if urls:
        connect(urls, name=name).close()
    run_close(loaded, asyncio.run)
    return loaded.default_concurrency
