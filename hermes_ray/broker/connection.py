"""Reaching a broker: named connections, the pause before the next try, and one sentence when it cannot be had."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence

import pika
from pika.adapters.blocking_connection import BlockingConnection
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError, ConnectionClosedByBroker
from pika.tcp_socket_opts import set_sock_opts

from hermes_ray import __version__
from hermes_ray.broker.reason import Failure, failure_of, reason_of, sentence, told
from hermes_ray.broker.tls import split_tls, tls_options
from hermes_ray.config.secrets import refused_url
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["backoff_s", "closing", "connect", "parameters"]

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 15.0
WAITING_PAUSE_S = 1.0  # a person waits for the command: not the up to 15 s of a worker that reconnects

# pika logs a traceback for each failed try: silenced, since callers report the cause in one sentence.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def parameters(
    url: str, *, name: str, heartbeat_s: int = 60, blocked_timeout_s: float | None = 300
) -> pika.URLParameters:
    """What a connection to ``url`` is opened with; the broker's connection list shows it as ``name``.

    A heartbeat or blocked_connection_timeout in the URL's query wins over the arguments. A connection that a broker's
    alarm blocks for longer than ``blocked_timeout_s`` is closed, for None never. Raises ``UserMistake`` for a query
    pika cannot use, and for a file of TLS that cannot be used on this node.
    """
    known_to_pika, tls = split_tls(url)
    try:
        result = pika.URLParameters(known_to_pika)
        _try_options(result)
    except Exception as error:  # anything, since it evaluates literals; its words may repeat what it could not read
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise UserMistake(
            f"broker.url is {refused_url(url)!r}, whose parameters pika cannot use{why}: correct them"
        ) from None
    if tls:
        result.ssl_options = tls_options(tls)
    result.client_properties = {"connection_name": name, "product": "hermes_ray", "version": __version__}
    if result.heartbeat is None:
        result.heartbeat = heartbeat_s
    if result.blocked_connection_timeout is None:
        result.blocked_connection_timeout = blocked_timeout_s
    return result


def _try_options(chosen: pika.URLParameters) -> None:
    """Raise now what the system and ssl would over options of the URL only once somebody answers."""
    if chosen.tcp_options:
        with socket.socket() as unconnected:
            set_sock_opts(chosen.tcp_options, unconnected)
    if chosen.ssl_options is not None:
        name = chosen.ssl_options.server_hostname
        name = chosen.host if name is None else name
        chosen.ssl_options.context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)


def backoff_s(attempt: int, draw: Callable[[], float]) -> float:
    """The pause before retry ``attempt`` (from 0): full jitter below ``0.5 s x 2^attempt``, at most 15 s.

    ``draw`` gives a number in [0, 1). Attempt 3 and a draw of 0.25: 0.25 x 4 s = 1 s.
    """
    return draw() * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt, 16))


def connect(urls: Sequence[str], *, name: str, wait_s: float = 0, heartbeat_s: int = 60) -> BlockingConnection:
    """A connection to the first of ``urls`` that answers, all tried in turn until ``wait_s`` has passed.

    Raises ``OperationFailed`` with one sentence. What time does not heal, such as a refused login, is raised once each
    was tried; ``UserMistake`` for a file of TLS that cannot be used here.
    """
    deadline_s = time.monotonic() + wait_s
    attempt = 0
    while True:
        failures: list[Failure] = []
        for url in urls:
            try:
                return BlockingConnection(parameters(url, name=name, heartbeat_s=heartbeat_s))
            except (AMQPError, AMQPConnectorException, OSError) as error:
                failures.append(failure_of(url, error))
        left_s = deadline_s - time.monotonic()
        if left_s <= 0 or any(failure.is_final for failure in failures):
            raise OperationFailed(sentence(failures, wait_s))
        time.sleep(min(left_s, WAITING_PAUSE_S, backoff_s(attempt, random.random)))
        attempt += 1


@contextlib.contextmanager
def closing(connection: BlockingConnection) -> Iterator[BlockingConnection]:
    """Close ``connection`` at the end, if the broker has not; ``OperationFailed`` with its words where that is why."""
    try:
        yield connection
    except ConnectionClosedByBroker as error:
        raise OperationFailed(f"the broker ended the connection: {error.reply_code} {told(error.reply_text)}") from None
    except AMQPError as error:
        raise OperationFailed(f"the connection to the broker failed: {reason_of(error)}") from None
    finally:
        if connection.is_open:
            with contextlib.suppress(AMQPError):  # it may end while it is closed, and what was wanted is done by then
                connection.close()
