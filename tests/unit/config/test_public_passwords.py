"""Passwords where others can read them are refused, and no sentence about a mistake repeats one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hermes_ray.config.loading import masked_yaml
from tests.unit.config.test_mistakes import TOPIC, sentence

ADVICE = "holds a password, and command lines can be read by others: put it in an environment variable and write"

PUBLIC_PASSWORDS = [
    "broker.url=amqp://me:hunter2@rabbit:5672/%2F",
    "broker.url=amqp://guest:guest@rabbit",
    "broker.url=amqp://guest:hunter2@localhost",
    "broker.url=[amqp://guest:guest@localhost,'amqp://me:hunter2@rabbit']",
    "broker.url=amqp://me:hun/ter2@rabbit",
    "broker.url=amqp://me:hun@ter2@rabbit",
    "broker.url=${oc.env:URL,'amqp://me:hunter2@rabbit'}",
    "broker.url=amqp://me:${oc.env:PASSWORD,hunter2}@rabbit",
    "broker={url: 'amqp://me:hunter2@rabbit'}",
    "topics.a.options.db=postgresql://me:hunter2@db/x",
    "topics.a.options.db=postgresql://db/x?user=me&password=hunter2",
    "topics.a.options.db=postgresql://db/x?user=me&%70assword=hunter2",
    "broker.url=amqps://rabbit/?certfile=/c&keyfile=/k&pass%77ord=hunter2",
    "topics.a.options.db='host=db password=hunter2'",
    "topics.a.options.password=hunter2",
    "topics.a.options.db_password=12345",
    "topics.a.options.apiKey=hunter2",
    "topics.a.options.access_token=hunter2",
    "topics.a.options.secrets=[hunter2]",
    "topics.a.options.api_keys=[hunter2]",
    "topics.a.options.tokens=${oc.env:TOKENS,hunter2}",
    "topics.a.options.handler=password:hunter2",
    "topics.a.handler=amqp://me:hunter2@rabbit",
    "topics.a.options.auth={user: me, passwd: hunter2}",
    "topics.a.options.token=${oc.env:TOKEN,hunter2}",
    "topics.a={handler: m:f, options: {secret: hunter2}}",
    "topics={a: {handler: m:f, options: {url: 'http://me:hunter2@api'}}}",
    "broker.password=hunter2",
    "topics.a.options.args=[--password,hunter2]",
    "topics.a.options.pair=[token,hunter2]",
    "topics.a.options.x={env: [{name: API_KEY, value: hunter2}]}",
]


@pytest.mark.parametrize("word", PUBLIC_PASSWORDS)
def test_a_password_on_the_command_line_is_refused_and_not_repeated(word: str) -> None:
    text = sentence(["topics.a.handler=m:f", word])
    assert ADVICE in text
    assert "${oc.env:NAME}" in text
    assert "hunter2" not in text
    assert "ter2" not in text
    assert "12345" not in text


def test_a_count_on_the_command_line_is_no_password(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(TOPIC)
    words = ["topics.a.options.max_tokens=4096", "topics.a.options.min_tokens=${oc.env:NOT_SET_ANYWHERE,16}"]
    assert yaml.safe_load(masked_yaml(file, words))["topics"]["a"]["options"]["max_tokens"] == 4096


@pytest.mark.parametrize("command", ["pg_dump --no-password mydb", "docker login --password-stdin registry"])
def test_an_option_without_a_value_is_no_password(command: str, tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(TOPIC)
    shown = yaml.safe_load(masked_yaml(file, [f"topics.a.options.cmd='{command}'"]))
    assert shown["topics"]["a"]["options"]["cmd"] == command


def test_the_password_of_a_broken_broker_url_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    for url in ("amqp://me:hun#ter2@h:5/x", "amqp://me:hunter2@h:x", "http://me:hun/ter2@h", "me:hunter2@h"):
        file.write_text(f"broker: {{url: '{url}'}}\n{TOPIC}", encoding="utf-8")
        text = sentence([f"config={file}"])
        assert "broker.url is '" in text
        assert "ter2" not in text


@pytest.mark.parametrize("name", ["password_reset:handle", "app.password:Reset", "tokens.my_token:f"])
def test_the_name_of_a_handler_is_no_password_whatever_it_is_about(name: str, tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(f"topics: {{a: {{handler: '{name}'}}}}")
    words = [f"topics.b.handler={name}", f"topics.c={{handler: '{name}'}}"]
    topics = yaml.safe_load(masked_yaml(file, words))["topics"]
    assert [topics[topic]["handler"] for topic in "abc"] == [name] * 3
