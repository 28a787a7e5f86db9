"""Queues with arguments and bindings of a topic's own, and those that exist, as a user serves them."""

from __future__ import annotations

from functools import partial

import pytest
from pika import BasicProperties

from tests.support.ledger import channel_to
from tests.support.live import Project, topics_of, wait_until

SINGLE = {"x-single-active-consumer": True}


def is_held(project: Project, topic: str) -> bool:
    """Whether ``hermes why`` says so, and why the number is what it is."""
    said = " ".join(project.hermes("why", topic, "config=my.yaml").stdout.split())
    is_shown = f"{topic} is held at one worker and a standby, since its queue has a single active consumer" in said
    return is_shown and "by the queue's single active consumer: one works, one stands by" in said


@pytest.mark.slow
def test_topics_are_held_at_one_worker_and_a_standby_by_their_single_active_consumers(project: Project) -> None:
    """Of a queue that we declare, and of one that somebody else did."""
    slow = {"handler": "Sync", "options": {"sleep_s": 0.2}, "worker": {"concurrency": 1}, "latency_objective_s": 2}
    project.configure({"ours": {**slow, "queue_arguments": SINGLE}, "theirs": {**slow, "topology": "existing"}})
    with channel_to(project.url) as channel:
        channel.queue_declare("theirs", durable=True, arguments=SINGLE | {"x-max-length": 10_000})
    with project.serving() as serve:
        serve.wait_for("serving ours, theirs", 60)
        ids = {topic: project.publish(topic, count=150) for topic in ("ours", "theirs")}
        for topic in ids:
            wait_until(partial(is_held, project, topic), 90, f"{topic} is held")
        most = dict.fromkeys(ids, 0)

        def all_done() -> bool:
            for topic, state in topics_of(project).items():
                workers = state["workers"]
                most[topic] = max(most[topic], workers["observed"] + workers["starting"], workers["target"])
            return all(set(project.handled(topic)) == ids[topic] for topic in ids)

        wait_until(all_done, 150, "everything is handled")
        assert most == {"ours": 2, "theirs": 2}


@pytest.mark.slow
def test_what_is_wrong_with_queues_is_one_sentence_before_anything_runs(project: Project) -> None:
    with channel_to(project.url) as channel:
        channel.queue_declare("streamed", durable=True, arguments={"x-queue-type": "stream"})
    for topology in ("declare", "existing"):
        project.configure({"streamed": {"handler": "Sync", "topology": topology}})
        for command in ("check", "apply"):
            done = project.hermes(command, "config=my.yaml", check=False)
            said = f"{done.stdout}\n{done.stderr}"
            assert done.returncode == (1 if command == "check" else 2), said
            assert "the queue 'streamed' of topic 'streamed' exists as a stream queue, from which no topic can" in said
            assert "Traceback" not in said
    project.configure({"bound": {"handler": "Sync", "bindings": [{"exchange": "games", "routing_key": "pgcr.#"}]}})
    for command in ("check", "apply"):
        done = project.hermes(command, "config=my.yaml", check=False)
        assert done.returncode == (1 if command == "check" else 2)
        missing = "topics.bound.bindings[0].exchange is 'games', an exchange that does not exist: create it, or set"
        assert missing in f"{done.stdout}\n{done.stderr}"


def test_a_bound_topic_gets_its_messages_and_unknown_arguments_are_said(project: Project) -> None:
    bindings = [{"exchange": "games", "routing_key": "pgcr.#", "exchange_type": "topic"}]
    arguments = {"x-max-lenght": 10, "x-max-length": 10_000}
    project.configure({"bound": {"handler": "Sync", "bindings": bindings, "queue_arguments": arguments}})
    said = "topics.bound.queue_arguments.x-max-lenght is no argument known here, did you mean x-max-length?"
    assert said in project.hermes("check", "config=my.yaml").stdout
    with project.serving() as serve:
        serve.wait_for("serving bound", 60)
        with channel_to(project.url) as channel:
            for number in range(20):
                properties = BasicProperties(message_id=f"m{number}", delivery_mode=2)
                channel.basic_publish("games", f"pgcr.{number}", b"{}", properties, mandatory=True)
        wait_until(lambda: len(project.handled("bound")) == 20, 60, "what was published to the exchange is handled")
    assert said in serve.output
    plain = project.hermes("apply", "config=my.yaml", "topics.bound.queue_arguments={x-max-length: 5}", check=False)
    assert plain.returncode == 2
    assert "exists with x-max-length 10000, not 5: set topics.bound.queue_arguments.x-max-length=10000" in plain.stderr
