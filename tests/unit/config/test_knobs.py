"""What a change of each knob takes, said where it is declared."""

from __future__ import annotations

import dataclasses

from hermes_ray.config.keys import valid_keys
from hermes_ray.config.knobs import Takes, knob, rolling_values
from hermes_ray.config.loading import load
from hermes_ray.config.settings import TopicConfig


def topic(*words: str) -> TopicConfig:
    return load(None, ["topics.a.handler=m:f", *(f"topics.a.{word}" for word in words)]).topics["a"]


def test_a_worker_is_made_of_the_rolling_and_topology_knobs_sorted_by_key() -> None:
    values = rolling_values(topic("options={x: [1]}", "worker.memory=4GiB"))
    assert values == [
        ("bindings", []),
        ("handler", "m:f"),
        ("options", {"x": [1]}),
        ("queue", "a"),
        ("queue_arguments", {}),
        ("queue_type", "quorum"),
        ("topology", "declare"),
        ("worker.concurrency", None),
        ("worker.memory", 4 * 2**30),
        ("worker.num_cpus", 0.25),
        ("worker.prefetch", None),
        ("worker.prefetch_bytes", 64 * 2**20),
        ("worker.resources", {}),
        ("worker.timeout_s", None),
    ]


def test_the_broker_belongs_to_what_a_worker_is_made_of() -> None:
    assert rolling_values(load(None, ["topics.a.handler=m:f", "broker.url=amqp://h"]).broker) == [
        ("ack_timeout_s", 1800.0),
        ("decoder", "direct"),
        ("tls.ca", None),
        ("tls.cert", None),
        ("tls.key", None),
        ("tls.password", None),
        ("tls.verify", True),
        ("url", "amqp://h"),
    ]


def test_time_outs_and_what_the_scaler_alone_reads_are_live() -> None:
    takes = {at: knob(entry).takes for at, _, entry in valid_keys()}
    live = {"worker.drain_timeout_s", "worker.silent_timeout_s", "workers.roll_surge", "weight", "retry.max_attempts"}
    assert {takes[f"topics.NAME.{name}"] for name in live} == {Takes.LIVE}
    assert takes["forget_after_s"] is takes["state_dir"] is Takes.LIVE


def test_names_tell_one_from_another() -> None:
    takes = {at: knob(entry).takes for at, _, entry in valid_keys()}
    assert {at for at, what in takes.items() if what is Takes.ANOTHER} == {"deployment.name", "topics"}


def test_new_knobs_have_the_defaults_that_are_written_about_them() -> None:
    config = load(None, ["topics.a.handler=m:f"])
    chosen = config.topics["a"]
    assert (chosen.worker.silent_timeout_s, chosen.workers.roll_surge) == (900, 0.25)
    assert config.forget_after_s == 30 * 24 * 3600


def test_the_representation_of_a_configuration_leaves_its_secret_knobs_out() -> None:
    chosen = topic("options={x: [y]}")
    assert "options" not in repr(chosen)
    assert {entry.name for entry in dataclasses.fields(chosen) if not entry.repr} == {"options"}
