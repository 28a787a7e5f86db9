"""From the words of a command to the deployment, and the topic, that it is about."""

from __future__ import annotations

from collections.abc import Sequence

from hermes_ray.cluster.client import Deployment
from hermes_ray.cluster.connect import join_cluster
from hermes_ray.config.loading import parse_command
from hermes_ray.errors import UserMistake

__all__ = ["bare_words", "need_topic", "perhaps_topic", "reach"]


def reach(words: Sequence[str]) -> Deployment:
    """The running deployment of ``deployment.name``; raises ``UserMistake`` if there is no cluster or no such one."""
    name = parse_command(words, need_topics=False).config.deployment.name
    join_cluster(name)
    return Deployment.find(name)


def bare_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words without ``=``, and the others: of ``orders config=my.yaml`` first ``["orders"]``."""
    return [word for word in words if "=" not in word], [word for word in words if "=" in word]


def perhaps_topic(command: str, words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The topic among ``words``, None if they name none, and the other words."""
    bare, rest = bare_words(words)
    if len(bare) > 1:
        raise UserMistake(f"hermes {command} takes one topic, not {len(bare)} ({', '.join(bare)}): ask once for each")
    return (bare[0] if bare else None), rest


def need_topic(command: str, words: Sequence[str]) -> tuple[str, list[str]]:
    """The topic among ``words``, and the other words; raises ``UserMistake`` if they name none."""
    topic, rest = perhaps_topic(command, words)
    if topic is None:
        raise UserMistake(f"the topic is missing: write hermes {command} TOPIC; hermes status shows the topics")
    return topic, rest
