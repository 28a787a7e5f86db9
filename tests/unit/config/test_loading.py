"""Reading configurations that are right, and surviving any that are not."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hermes_ray.config.loading import load, parse_command, split_words
from hermes_ray.config.policy_params import topic_params
from hermes_ray.config.schema import schema_rows
from hermes_ray.config.settings import Config, ThresholdConfig
from hermes_ray.core.model import ThresholdRule
from hermes_ray.errors import UserMistake

SHIPPED = Path(__file__).parents[3] / "conf" / "hermes.yaml"


@pytest.fixture(autouse=True)
def no_broker_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HERMES_BROKER_URL", raising=False)


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "hermes.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_one_topic_with_a_handler_is_a_working_configuration(tmp_path: Path) -> None:
    config = load(write(tmp_path, "topics: {x: {handler: m:f}}"))
    topic = config.topics["x"]
    assert (topic.handler, topic.queue, topic.queue_type, topic.workers.max) == ("m:f", "x", "quorum", 10)
    assert config.broker.urls == ("amqp://guest:guest@127.0.0.1:5672/%2F",)
    assert config == load(None, ["topics.x.handler=m:f"])


def test_the_shipped_file_holds_every_key_with_its_default() -> None:
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for row in schema_rows():
        if row.key == "topics":
            continue
        value: Any = shipped
        for part in row.key.replace("NAME", "player_crawl").split("."):
            assert part in value, row.key
            value = value[part]
        if row.default != "required" and row.key not in ("topics.NAME.queue", "topics.NAME.options"):
            assert value == yaml.safe_load(row.default) or value == row.default, row.key


def test_the_shipped_file_is_the_defaults_but_for_a_handler_and_its_options() -> None:
    shipped = load(SHIPPED)
    (topic,) = shipped.topics.values()
    plain = dataclasses.replace(topic, options={})
    assert dataclasses.replace(shipped, topics={"player_crawl": plain}) == load(
        None, [f"topics.player_crawl.handler={topic.handler}"]
    )


def test_the_shipped_file_states_the_range_of_every_number() -> None:
    text = SHIPPED.read_text(encoding="utf-8").replace("10^12", f"{10**12}").replace("10^14", f"{10**14}")
    lines = text.splitlines()
    for row in schema_rows():
        if row.type.startswith(("int", "float", "mapping")) and " to " in row.allowed:
            name = row.key.rpartition(".")[2]
            near = [
                " ".join(lines[max(0, at - 1) : at + 1]) for at, line in enumerate(lines) if f" {name}:" in f" {line}"
            ]
            assert any(row.allowed.removesuffix(" each") in place for place in near), row


def test_every_key_has_a_meaning_that_is_one_sentence() -> None:
    rows = schema_rows()
    assert len({row.key for row in rows}) == len(rows)
    for row in rows:
        assert row.meaning.endswith("."), row
        assert row.type, row


def test_words_win_over_the_file_and_reach_names_with_dots(tmp_path: Path) -> None:
    file = write(tmp_path, "topics: {a.b: {handler: m:f, workers: {min: 2, max: 5}}}")
    config = load(
        file, ["topics[a.b].workers.max=40", "deployment.name=blue", "broker.url=[amqp://h1,amqp://h2:5673/v]"]
    )
    workers = config.topics["a.b"].workers
    assert (workers.min, workers.max) == (2, 40)
    assert config.deployment.name == "blue"
    assert config.broker.urls == ("amqp://h1", "amqp://h2:5673/v")


def test_text_from_the_environment_becomes_the_number_a_key_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX", "8")
    monkeypatch.setenv("WEIGHT", "2.5")
    file = write(tmp_path, "topics: {a: {handler: m:f, workers: {max: '${oc.env:MAX}'}, weight: '${oc.env:WEIGHT}'}}")
    topic = load(file).topics["a"]
    assert (topic.workers.max, topic.weight) == (8, 2.5)
    assert type(topic.workers.max) is int


def test_a_reference_reaches_a_default(tmp_path: Path) -> None:
    file = write(tmp_path, "topics: {a: {handler: m:f, workers: {min: '${.max}'}, options: {q: '${topics.a.queue}'}}}")
    topic = load(file).topics["a"]
    assert (topic.workers.min, topic.options) == (10, {"q": "a"})


def test_null_queue_means_the_topics_name(tmp_path: Path) -> None:
    assert load(write(tmp_path, "topics: {a: {handler: m:f, queue: null}}")).topics["a"].queue == "a"


def test_the_commands_own_words_are_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path, "topics: {a: {handler: m:f}}")
    command = parse_command([f"config={file}", "detach=true", "topics.a.weight=3"])
    assert (command.detach, command.roll, command.config.topics["a"].weight) == (True, False, 3.0)
    assert split_words(["topic=a", "rate_hz=5", "deployment.name=x=y"], ["topic", "rate_hz"]) == (
        {"topic": "a", "rate_hz": "5"},
        ["deployment.name=x=y"],
    )


def test_status_and_stop_need_no_topics() -> None:
    command = parse_command(["deployment.name=blue"], need_topics=False)
    assert (command.config.deployment.name, command.config.topics) == ("blue", {})


def test_passwords_are_welcome_in_the_file_and_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER", "amqp://me:hunter2@rabbit/v")
    monkeypatch.setenv("PASSWORD", "hunter2")
    file = write(tmp_path, "broker: {url: 'amqp://me:hunter2@rabbit/v'}\ntopics: {a: {handler: m:f}}")
    assert load(file).broker.urls == ("amqp://me:hunter2@rabbit/v",)
    for word in (
        "broker.url=${oc.env:BROKER}",
        "broker.url=amqp://me:${oc.env:PASSWORD}@rabbit/v",
        "broker.url=${oc.env:BROKER,'amqp://guest:guest@127.0.0.1'}",
    ):
        assert load(file, [word]).broker.urls == ("amqp://me:hunter2@rabbit/v",)


@pytest.mark.parametrize(
    "word",
    [
        "broker.url=amqp://guest:guest@localhost:5672/%2F",
        "broker.url=amqp://guest:guest@127.9.9.9",
        "broker.url=amqp://guest:guest@[::1]:5672/",
        "broker.url=[amqp://guest:guest@localhost,amqp://guest:guest@127.0.0.1]",
        "broker.url=amqp://rabbit/v",
        "topics.a.options.endpoint=http://api:8080/users/@me",
        "topics.a.options.password_file=/run/secrets/db",
        "topics.a.options.max_tokens=400",
        "topics.a.options.use_password=true",
        "topics.a.options.password=${oc.env:PATH}",
        "topics.a.worker.resources.token=1",
    ],
)
def test_words_without_a_secret_are_not_refused(word: str) -> None:
    load(None, ["topics.a.handler=m:f", word])


def test_a_topic_named_like_a_secret_is_an_ordinary_topic() -> None:
    assert load(None, ["topics.token.handler=m:f", "topics.token.workers.max=3"]).topics["token"].workers.max == 3


def test_topic_params_say_what_the_policy_needs() -> None:
    words = ["handler=m:f", "weight=2", "worker.memory=1000", "worker.resources.disk=0.5", "scaling.policy=threshold"]
    topic = load(None, [f"topics.a.{word}" for word in [*words, "scaling.threshold.max_step=4"]]).topics["a"]
    params = topic_params("a", topic, 32)
    assert (params.topic, params.policy, params.weight, params.concurrency) == ("a", "threshold", 2.0, 32)
    assert params.worker == {"CPU": 0.25, "memory": 1000.0, "disk": 0.5}
    assert params.threshold == ThresholdRule(max_step=4)


def test_the_threshold_section_mirrors_the_rule_of_the_policy() -> None:
    mirrored = {entry.name: entry.default for entry in dataclasses.fields(ThresholdConfig)}
    assert mirrored == dataclasses.asdict(ThresholdRule())


def test_a_config_travels_to_actors_and_is_frozen() -> None:
    config = load(SHIPPED)
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.drain_timeout_s = 3  # type: ignore[misc]


def test_the_dataclasses_are_structured_configs_too() -> None:
    assert OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.load(SHIPPED))) == load(SHIPPED)


def test_importing_the_configuration_loads_neither_ray_nor_pika() -> None:
    program = "import sys, hermes_ray.config.loading; print({'ray', 'pika'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


NAMES = sorted({part for row in schema_rows() for part in row.key.split(".")})
TEXTS = st.sampled_from(["a", "m:f", "amqp://u:p@h", "${a}", "${topics.a}", "${oc.env:X}", "???", "nan", "8", "${"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=8)
KEYS = st.sampled_from(NAMES) | st.text(max_size=4) | st.integers() | st.booleans() | st.none()
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
FUZZED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mistake(path: Path | None, words: list[str]) -> str:
    """The sentence for what is wrong with these, "" for nothing; another exception fails the test."""
    try:
        parse_command([*([] if path is None else [f"config={path}"]), *words])
    except UserMistake as error:
        return str(error)
    return ""


@FUZZED
@given(tree=TREES, topic=st.dictionaries(st.sampled_from(NAMES), TREES, max_size=3))
def test_any_tree_of_values_is_a_config_or_one_sentence(tree: Any, topic: Any, tmp_path: Path) -> None:
    assert mistake(write(tmp_path, yaml.safe_dump(tree)), []).isprintable()
    within = {"topics": {"a": {"handler": "m:f"} | topic}}
    assert mistake(write(tmp_path, yaml.safe_dump(within)), []).isprintable()


@FUZZED
@given(text=st.text(max_size=40))
def test_any_text_is_a_config_or_one_sentence(text: str, tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_bytes(text.encode())
    assert mistake(file, []).isprintable()


@FUZZED
@given(
    key=st.text(max_size=12) | st.sampled_from([row.key for row in schema_rows()]), value=TEXTS | st.text(max_size=12)
)
def test_any_word_is_understood_or_one_sentence(key: str, value: str) -> None:
    for word in (key, f"{key}={value}", f"topics.a.{key}={value}"):
        assert mistake(None, ["topics.a.handler=m:f", word]).isprintable()
        assert mistake(None, [word]).isprintable()
