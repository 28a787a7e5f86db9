"""Binding a topic's queue to exchanges, and what is said when the broker does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker

from hermes_ray.broker.reason import told
from hermes_ray.errors import HermesError, OperationFailed, UserMistake

__all__ = ["Binding", "bind", "bind_all", "look_at_exchanges"]

_NOT_FOUND, _REFUSED, _DIFFERS = 404, 403, 406


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One binding of a queue; with ``exchange_type`` its exchange is declared, durable, else it must exist.

    ``key`` is where the configuration says so: ``topics.crawl.bindings[0]``.
    """

    key: str
    exchange: str
    routing_key: str = ""
    exchange_type: str | None = None
    arguments: Mapping[str, str | int] = field(default_factory=dict)


def bind(channel: BlockingChannel | Channel, queue: str, binding: Binding) -> None:
    """Declare the exchange, if that is wanted, and bind ``queue`` to it; what is there already stays as it is."""
    if binding.exchange_type is not None:
        channel.exchange_declare(binding.exchange, binding.exchange_type, durable=True)
    channel.queue_bind(queue, binding.exchange, binding.routing_key, arguments=dict(binding.arguments))


def bind_all(connection: BlockingConnection, queue: str, bindings: Iterable[Binding]) -> None:
    """Bind ``queue``; raises ``UserMistake`` or ``OperationFailed`` with a sentence for the first that is refused."""
    for binding in bindings:
        channel = connection.channel()
        try:
            bind(channel, queue, binding)
        except ChannelClosedByBroker as error:
            raise _refusal(binding, queue, error.reply_code, error.reply_text) from None
        channel.close()


def look_at_exchanges(connection: BlockingConnection, bindings: Iterable[Binding]) -> None:
    """Raise what ``bind_all`` would for the exchanges, all that are missing in one ``UserMistake``; creates nothing.

    An exchange that is there is declared again, where its type is said: only that tells its type, and changes nothing.
    """
    missing = []
    for binding in bindings:
        is_there = _is_there(connection, binding)
        if not is_there and binding.exchange_type is None:
            missing.append(_missing(binding))
        elif is_there and binding.exchange_type is not None:
            channel = connection.channel()
            try:
                channel.exchange_declare(binding.exchange, binding.exchange_type, durable=True)
            except ChannelClosedByBroker as error:
                raise _refusal(binding, "", error.reply_code, error.reply_text) from None
            channel.close()
    if missing:
        raise UserMistake(
            f"{'; '.join(missing)}: create {'it' if len(missing) == 1 else 'them'}, or set exchange_type on the binding"
        )


def _is_there(connection: BlockingConnection, binding: Binding) -> bool:
    channel = connection.channel()
    try:
        channel.exchange_declare(binding.exchange, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code == _NOT_FOUND:
            return False
        raise _refusal(binding, "", error.reply_code, error.reply_text) from None
    channel.close()
    return True


def _missing(binding: Binding) -> str:
    return f"{binding.key}.exchange is {binding.exchange!r}, an exchange that does not exist"


_INEQUIVALENT = re.compile(r"inequivalent arg '(?P<arg>[^']+)'(?:.* but current is (?P<found>.*))?", re.DOTALL)
_TYPED = re.compile(r"none|(?:the value )?'(?P<value>.*?)'(?: of type '[^']*)?'?", re.DOTALL)


def _refusal(binding: Binding, queue: str, code: int, text: str) -> HermesError:
    """Why the exchange was not declared or the queue not bound, and what to do."""
    exchange, text = f"the exchange {binding.exchange!r}", told(text)
    if code == _NOT_FOUND and text.startswith("NOT_FOUND - no exchange "):
        return UserMistake(f"{_missing(binding)}: create it, or set exchange_type on the binding")
    if code == _REFUSED and text.startswith("ACCESS_REFUSED - exchange name "):
        return UserMistake(f"{_missing(binding)}, and names that start with amq. are the broker's own: name another")
    if code == _REFUSED:
        return UserMistake(
            f"the broker refuses {binding.key}, {exchange}: grant this user the permissions to read the exchange, to "
            "write the queue, and with exchange_type to configure the exchange"
        )
    if code == _DIFFERS:
        return UserMistake(_difference(binding, exchange, text))
    return OperationFailed(f"the broker could not bind the queue {queue!r} to {exchange} of {binding.key}: {text}")


def _difference(binding: Binding, exchange: str, text: str) -> str:
    match = _INEQUIVALENT.search(text)
    if match is None:
        return f"the broker refuses {binding.key}, {exchange}: {text}: correct it"
    typed, arg = _TYPED.fullmatch(match["found"] or ""), match["arg"]
    if typed is None:  # the broker's answer had no room for all of it
        as_it_is = f"with another {arg}"
    else:
        found = typed["value"] or typed[0]
        as_it_is = f"as a {found} exchange" if arg == "type" else f"with {arg} {found}"
    return (
        f"{binding.key}.exchange_type is {binding.exchange_type!r}, but {exchange} exists {as_it_is}: leave "
        "exchange_type out, or name another exchange"
    )
