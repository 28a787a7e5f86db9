"""What a consumer declares before it consumes."""

from __future__ import annotations

from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker, NoFreeChannels

from hermes_ray.broker.bindings import bind
from hermes_ray.broker.queue_spec import QueueSpec
from hermes_ray.broker.refusals import is_about_channels
from hermes_ray.broker.topology import Arguments, main_arguments
from hermes_ray.logs import Log

__all__ = ["declare_main"]

log = Log(__name__)


def declare_main(channel: Channel, spec: QueueSpec, lost_reason: str | None = None) -> None:
    """Declare the main queue, unless it is taken as it is, so that one that was deleted is back, bindings and all.

    The queue is bound on a channel of its own: a binding that the broker refuses takes no consumer away. Where the last
    connection was lost, for ``lost_reason``, over one channel too many, it is not bound again.
    """
    arguments = main_arguments(spec)
    if arguments is None:
        return
    channel.queue_declare(spec.queue, durable=True, arguments=arguments)
    if spec.bindings:
        try:
            if is_about_channels(lost_reason or ""):
                raise NoFreeChannels
            channel.connection.channel(on_open_callback=lambda beside: _bind_beside(beside, spec, arguments))
        except NoFreeChannels:
            log.warning("the queue %s was not bound again: the broker allows this user no further channel", spec.queue)


def _bind_beside(channel: Channel, spec: QueueSpec, arguments: Arguments) -> None:
    channel.add_on_close_callback(lambda _channel, error: _tell(spec.queue, error))
    channel.queue_declare(spec.queue, durable=True, arguments=arguments)
    for binding in spec.bindings:
        bind(channel, spec.queue, binding)
    channel.close()


def _tell(queue: str, error: Exception) -> None:
    if isinstance(error, ChannelClosedByBroker):
        log.warning("the queue %s was not bound again: %s %s", queue, error.reply_code, error.reply_text)
