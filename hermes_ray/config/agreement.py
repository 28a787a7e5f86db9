"""What a topic says has to agree with itself, with what other topics say, and with the broker's part."""

from __future__ import annotations

from hermes_ray.config.queue_arguments import unfit
from hermes_ray.config.sentences import dotted, shown
from hermes_ray.config.settings import ACK_LIMIT_RATIO, Config, TopicConfig
from hermes_ray.errors import UserMistake

__all__ = ["check_exchanges", "check_queue", "check_timeout"]


def check_queue(path: str, queue: str, topic: TopicConfig) -> None:
    """Raise ``UserMistake`` for arguments and bindings that ``queue`` of the topic at ``path`` cannot have."""
    for key in ("queue_arguments", "bindings") if topic.topology != "declare" else ():
        if getattr(topic, key):
            raise UserMistake(
                f"{path}.{key} is for topology=declare, and {path}.topology is {topic.topology}, which takes the queue "
                "as it is: leave one of them out"
            )
    if found := unfit(topic.queue_arguments, topic.queue_type, queue):
        name, why = found
        raise UserMistake(f"{dotted(f'{path}.queue_arguments', name)} is {shown(topic.queue_arguments[name])}: {why}")


def check_exchanges(config: Config) -> None:
    """Raise ``UserMistake`` for an exchange that two bindings would declare with different types."""
    types: dict[str, tuple[str, str]] = {}
    for name, topic in config.topics.items():
        for index, binding in enumerate(topic.bindings):
            if binding.exchange_type is None:
                continue
            at = f"{dotted('topics', name)}.bindings[{index}].exchange_type"
            other, where = types.setdefault(binding.exchange, (binding.exchange_type, at))
            if other != binding.exchange_type:
                raise UserMistake(
                    f"{at} is {shown(binding.exchange_type)}, and {where} is {shown(other)} for the same exchange "
                    f"{shown(binding.exchange)}: an exchange has one type"
                )


def check_timeout(path: str, timeout_s: float | None, ack_timeout_s: float | None) -> None:
    """Raise ``UserMistake`` for a time limit beyond that within which the broker takes a message back."""
    if timeout_s is None or ack_timeout_s is None:
        return
    most = f"{ACK_LIMIT_RATIO * ack_timeout_s:.15g}"
    if timeout_s > float(most):  # as it is told: the product may be a hair less
        raise UserMistake(
            f"{path}.worker.timeout_s is {timeout_s:.15g}: it must be at most {most}, "
            "0.9 of broker.ack_timeout_s, as the broker takes a message back then; raise its consumer_timeout first"
        )
