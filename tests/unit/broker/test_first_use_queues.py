"""Queues that come with their first message."""

from __future__ import annotations

from dataclasses import replace

from hermes_ray.broker.first_use_queues import FirstUseQueues
from hermes_ray.broker.outgoing import Outgoing, fresh


def to(queue: str) -> Outgoing:
    made = fresh(queue, b"", table=b"", id="1")
    return Outgoing(queue=queue, body=made.body, properties=made.properties, declare={"x-queue-type": "classic"})


def is_declared_for(queues: FirstUseQueues, queue: str) -> bool:
    return queues.to_declare(to(queue)) is not None


def test_a_queue_is_declared_with_its_first_message_on_each_channel() -> None:
    queues = FirstUseQueues()
    assert queues.to_declare(to("q")) == {"x-queue-type": "classic"}
    queues.declared("q")
    assert not is_declared_for(queues, "q")
    assert is_declared_for(queues, "other")
    queues.begin()
    assert is_declared_for(queues, "q")


def test_one_of_another_form_is_used_as_it_is_on_every_channel() -> None:
    queues = FirstUseQueues()
    queues.declared("q")
    queues.declared("other")
    assert queues.refused("406 PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/'")
    assert not queues.refused("406 PRECONDITION_FAILED - invalid arg for queue 'never-declared' in vhost '/'")
    queues.begin()
    assert not is_declared_for(queues, "q")
    assert is_declared_for(queues, "other")


def test_one_that_cannot_be_declared_is_left_alone_ever_longer_until_it_takes_a_message() -> None:
    queues, now_s, pauses = FirstUseQueues(), 0.0, []
    for _ in range(7):
        queues.declared("q")
        queues.refused("403 limit reached for queue 'q' in vhost '/'")
        assert "limit" in queues.returned("q", now_s)
        assert is_declared_for(queues, "q")
        pause_s = next(pause for pause in range(40) if queues.why_absent("q", now_s + pause) is None)
        pauses.append(pause_s)
        now_s += pause_s
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert queues.returned("q", now_s) == ""
    assert queues.why_absent("q", now_s) is None, "a queue that is merely gone is declared at once"
    queues.declared("q")
    queues.refused("403 limit reached for queue 'q' in vhost '/'")
    queues.confirmed("q")
    queues.returned("q", now_s)
    assert "limit" in (queues.why_absent("q", now_s) or "")
    assert queues.why_absent("q", now_s + 1) is None


def test_a_queue_that_was_refused_a_message_may_close_the_channel_until_it_takes_one() -> None:
    queues = FirstUseQueues()
    made = fresh("q", b"", id="1")
    assert not queues.may_close(made)
    queues.blamed.add("q")
    assert queues.may_close(made)
    queues.confirmed("q")
    assert not queues.may_close(made)
    assert queues.may_close(replace(made, exchange="dlx")), "nobody knows whether it is there"
