"""Reaching a broker: named connections, the pause before the next try, and one sentence when it cannot be had."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence

import pika
from pika.adapters.blocking_connection import BlockingConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from hermes_ray import __version__
from hermes_ray.broker.reason import reason_of
from hermes_ray.config.secrets import mask_url, refused_url
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["backoff_s", "connect", "parameters"]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
WAITING_PAUSE_S = 1.0  # a person waits for the command: not the up to 15 s of a worker that reconnects

# pika logs a traceback for each failed try: silenced, since callers report the cause in one sentence.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def parameters(url: str, *, name: str, heartbeat_s: int = 60, blocked_timeout_s: float = 300) -> pika.URLParameters:
    """What a connection to ``url`` is opened with; the broker's connection list shows it as ``name``.

    A heartbeat or blocked_connection_timeout in the URL's query wins over the arguments. A connection that a broker's
    alarm blocks for longer than ``blocked_timeout_s`` is closed. Raises ``UserMistake`` for a query pika cannot read.
    """
    try:
        result = pika.URLParameters(url)
    except Exception as error:  # anything, since it evaluates literals; its words may repeat what it could not read
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise UserMistake(
            f"broker.url is {refused_url(url)!r}, whose parameters pika cannot use{why}: correct them"
        ) from None
    result.client_properties = {"connection_name": name, "product": "hermes_ray", "version": __version__}
    if result.heartbeat is None:
        result.heartbeat = heartbeat_s
    if result.blocked_connection_timeout is None:
        result.blocked_connection_timeout = blocked_timeout_s
    return result


def backoff_s(attempt: int, draw: Callable[[], float]) -> float:
    """The pause before retry ``attempt`` (from 0): full jitter below ``0.5 s x 2^attempt``, at most 15 s.

    ``draw`` gives a number in [0, 1). Attempt 3 and a draw of 0.25: 0.25 x 4 s = 1 s.
    """
    return draw() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt, 16))


def connect(urls: Sequence[str], *, name: str, wait_s: float = 0, heartbeat_s: int = 60) -> BlockingConnection:
    """A connection to the first of ``urls`` that answers, all tried in turn until ``wait_s`` has passed.

    Raises ``OperationFailed`` with one sentence. A refused login or virtual host is final and raised at once.
    """
    deadline_s = time.monotonic() + wait_s
    attempt = 0
    while True:
        failures: list[str] = []
        for url in urls:
            try:
                return BlockingConnection(parameters(url, name=name, heartbeat_s=heartbeat_s))
            except (AMQPError, AMQPConnectorException, OSError) as error:
                reason = reason_of(error)
                _raise_if_final(url, reason)
                failures.append(f"{mask_url(url)} ({reason})")
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise OperationFailed(_unreachable(failures, wait_s))
        time.sleep(min(left_s, WAITING_PAUSE_S, backoff_s(attempt, random.random)))
        attempt += 1


def _unreachable(failures: Sequence[str], wait_s: float) -> str:
    waited = f" within {wait_s:g} s" if wait_s else ""
    return f"no broker answered{waited} at {', '.join(failures)}: start it or correct broker.url"


def _raise_if_final(url: str, reason: str) -> None:
    masked = mask_url(url)
    if "ACCESS_REFUSED" in reason:
        raise OperationFailed(f"the broker at {masked} refused the login: correct user and password in broker.url")
    if "NOT_ALLOWED" in reason and "not found" in reason:
        raise OperationFailed(f"the broker at {masked} has no such virtual host: create it or correct broker.url")
    if "NOT_ALLOWED" in reason and "refused" in reason:
        raise OperationFailed(
            f"the broker at {masked} refused this user the virtual host: grant it permissions or correct broker.url"
        )
