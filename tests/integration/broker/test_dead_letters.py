"""Dead letters are read without being touched."""

from __future__ import annotations

from contextlib import closing

from pika.spec import BasicProperties

from hermes_ray.broker.connection import connect
from hermes_ray.broker.dead_letters import dead_letter_ids
from hermes_ray.broker.queue_spec import TopicTopology
from hermes_ray.broker.topology import dead_queue, ensure


def test_dead_letters_are_listed_in_order_and_stay(vhost_url: str) -> None:
    with closing(connect([vhost_url], name="test")) as connection:
        ensure(connection, [TopicTopology(topic="crawl", queue="crawl")])
        channel = connection.channel()
        channel.confirm_delivery()
        for id in ("a", None, "b", "c"):
            channel.basic_publish("", dead_queue("crawl"), b"{}", BasicProperties(message_id=id))
    assert dead_letter_ids([vhost_url], "crawl") == ["a", "b", "c"]
    assert sorted(dead_letter_ids([vhost_url], "crawl")) == ["a", "b", "c"]


def test_a_queue_that_does_not_exist_has_no_dead_letters(vhost_url: str) -> None:
    assert dead_letter_ids([vhost_url], "nowhere") == []
