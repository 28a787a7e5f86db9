"""How messages get on a channel and off it: past pika's objects where this pika allows that, else with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from hermes_ray.broker import direct
from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.frames import Receiver
from hermes_ray.broker.outgoing import Outgoing
from hermes_ray.logs import Log

__all__ = ["DIRECT", "PIKA", "Wire", "room_bytes", "wire_of"]

log = Log(__name__)

OnDeliveries = Callable[[list[Delivery]], None]
OnReturn = Callable[[str, bytes], None]
OnConfirm = Callable[[int, bool, bool], None]

_FRAME_OVERHEAD_BYTES = 20  # of the frame that properties travel in


class Wire(Protocol):
    """See ``frames.Receiver`` for what the callbacks are given."""

    connection_class: type[SelectConnection]

    def consume(self, channel: Channel, queue: str, epoch: int, on_deliveries: OnDeliveries, **options: Any) -> str:
        """Begin to consume; returns the consumer's tag. ``options``: those of pika's ``basic_consume``."""

    def hear_answers(self, channel: Channel, on_return: OnReturn, on_confirm: OnConfirm, on_ready: Any) -> None:
        """Turn confirms on for ``channel``; ``on_ready`` is called once they are."""

    def publish(self, channel: Channel, message: Outgoing) -> None:
        """Send ``message``, mandatory. Raises for one that cannot be encoded."""

    def send_acks(self, channel: Channel, acks: Iterable[tuple[int, bool]]) -> None:
        """Put acks, as (tag, multiple), on the wire."""


class _Direct:
    connection_class = direct.DirectConnection

    def consume(self, channel: Channel, queue: str, epoch: int, on_deliveries: OnDeliveries, **options: Any) -> str:
        channel.connection.listen(Receiver(channel.channel_number, epoch=epoch, on_deliveries=on_deliveries))
        tag: str = channel.basic_consume(queue, _never, **options)
        return tag

    def hear_answers(self, channel: Channel, on_return: OnReturn, on_confirm: OnConfirm, on_ready: Any) -> None:
        receiver = Receiver(channel.channel_number, on_return=on_return, on_confirm=on_confirm)
        channel.connection.listen(receiver)
        channel.confirm_delivery(_never, callback=on_ready)

    def publish(self, channel: Channel, message: Outgoing) -> None:
        direct.send_publish(channel, message.exchange, message.queue, message.properties.raw, message.body)

    def send_acks(self, channel: Channel, acks: Iterable[tuple[int, bool]]) -> None:
        direct.send_acks(channel, acks)


class _Pika:
    """What pika cannot decode ends the connection, and what it decodes to something else is not sent on as it was."""

    connection_class = SelectConnection

    def consume(self, channel: Channel, queue: str, epoch: int, on_deliveries: OnDeliveries, **options: Any) -> str:
        def on_message(_channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
            route = b"%c%b%b" % (method.redelivered, _short(method.exchange), _short(method.routing_key))
            on_deliveries([Delivery(epoch, method.delivery_tag, route, _raw(properties), body)])

        tag: str = channel.basic_consume(queue, on_message, **options)
        return tag

    def hear_answers(self, channel: Channel, on_return: OnReturn, on_confirm: OnConfirm, on_ready: Any) -> None:
        def hear_return(_channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes) -> None:
            on_return(method.routing_key, _raw(properties))

        def hear_confirm(frame: Method[Any]) -> None:
            on_confirm(frame.method.delivery_tag, frame.method.multiple, isinstance(frame.method, Basic.Ack))

        channel.add_on_return_callback(hear_return)
        channel.confirm_delivery(hear_confirm, callback=on_ready)

    def publish(self, channel: Channel, message: Outgoing) -> None:
        properties = BasicProperties().decode(message.properties.raw)
        channel.basic_publish(message.exchange, message.queue, message.body, properties, mandatory=True)

    def send_acks(self, channel: Channel, acks: Iterable[tuple[int, bool]]) -> None:
        for tag, multiple in acks:
            channel.basic_ack(tag, multiple)


PIKA: Wire = _Pika()
DIRECT: Wire = _Direct() if direct.can_cut() else PIKA


def wire_of(decoder: str) -> Wire:
    """The wire that ``broker.decoder`` names; pika's, with a line in the log, where this pika has changed inside."""
    if decoder == "direct" and DIRECT is PIKA:
        log.warning("this version of pika has changed inside: its own decoder is used, which is slower")
    return DIRECT if decoder == "direct" else PIKA


def room_bytes(channel: Channel) -> int:
    """What the properties of a message may take on this connection."""
    most: int = channel.connection.params.frame_max or 1 << 31
    return most - _FRAME_OVERHEAD_BYTES


def _never(*_arguments: object) -> None:
    raise AssertionError("deliveries and confirms are cut from the wire before pika sees them")


def _raw(properties: BasicProperties) -> bytes:
    return b"".join(properties.encode())


def _short(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return b"%c%b" % (len(raw), raw)
