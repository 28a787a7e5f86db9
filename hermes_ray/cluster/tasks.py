"""Running a function once on the cluster, and what Ray's errors mean in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError, WorkerCrashedError

from hermes_ray.cluster.capacity import head_node_id
from hermes_ray.cluster.ray_private import near

__all__ = ["TaskDied", "TaskFailed", "TaskTimedOut", "cause_text", "start_once"]


class TaskTimedOut(Exception):
    """The function did not return in time."""


class TaskFailed(Exception):
    """The function raised (``is_its_own``), or could not be run."""

    def __init__(self, text: str, *, is_its_own: bool) -> None:
        super().__init__(text)
        self.is_its_own = is_its_own


class TaskDied(TaskFailed):
    """The process that ran the function ended with it."""


def start_once(function: Callable[..., Any], *arguments: Any, on_head: bool = False) -> Callable[[float], Any]:
    """Start ``function`` in a fresh worker process of the cluster that reserves nothing, where scalers are or anywhere.

    Returns what waits for its result, for so many seconds, and raises ``TaskTimedOut`` or ``TaskFailed``.
    """
    head = head_node_id() if on_head else None
    where: dict[str, Any] = {} if head is None else {"scheduling_strategy": near(head)}
    result = ray.remote(num_cpus=0, max_retries=0, max_calls=1, **where)(function).remote(*arguments)

    def collect(timeout_s: float) -> Any:
        try:
            return ray.get(result, timeout=timeout_s)
        except GetTimeoutError as error:
            raise TaskTimedOut from error
        except RayTaskError as error:
            raise TaskFailed(str(error.cause), is_its_own=True) from error
        except WorkerCrashedError as error:
            raise TaskDied(cause_text(error), is_its_own=False) from error
        except RayError as error:
            raise TaskFailed(cause_text(error), is_its_own=False) from error

    return collect


def cause_text(error: BaseException) -> str:
    """What Ray's error is about: the last line of the innermost traceback it carries."""
    cause: BaseException = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[-1] if lines else type(cause).__name__
