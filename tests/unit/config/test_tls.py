"""``broker.tls``: what it makes of the broker's URLs, and where it cannot be done with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from hermes_ray.config.loading import load, masked_yaml
from hermes_ray.config.schema import json_schema
from hermes_ray.config.settings import Config
from hermes_ray.errors import UserMistake

TOPIC = "topics.a.handler=m:f"
VALIDATOR = Draft202012Validator(json_schema())


def config(*words: str) -> Config:
    return load(None, [TOPIC, *words])


def test_every_node_of_a_cluster_is_reached_with_the_same_tls() -> None:
    nodes = config("broker.url=[amqps://a,'amqps://b/v?heartbeat=5']", "broker.tls.ca=/ca.pem")
    assert nodes.broker.urls == ("amqps://a?cacertfile=/ca.pem", "amqps://b/v?heartbeat=5&cacertfile=/ca.pem")


def test_without_anything_set_the_urls_stay_as_they_are() -> None:
    assert config("broker.url=amqps://a", "broker.tls.verify=true").broker.urls == ("amqps://a",)


@pytest.mark.parametrize("value", ["false", "'false'", "'False'", "${oc.env:NOT_SET,false}", "verify_none"])
def test_checking_is_switched_off_by_a_boolean_or_a_text(value: str) -> None:
    assert config("broker.url=amqps://a", f"broker.tls.verify={value}").broker.urls == ("amqps://a?verify=verify_none",)


def test_what_a_url_says_itself_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_PASSWORD", "se sam")
    words = ("broker.tls.cert=/c", "broker.tls.key=/k", "broker.tls.password=${oc.env:KEY_PASSWORD}")
    made = config("broker.url=[amqps://a?certfile=/own, amqps://b]", *words)
    assert made.broker.urls == (
        "amqps://a?certfile=/own&keyfile=/k&password=se%20sam",
        "amqps://b?certfile=/c&keyfile=/k&password=se%20sam",
    )
    assert "sam" not in repr(made)
    assert "password: '***'" in masked_yaml(None, [TOPIC, "broker.url=amqps://b", *words])


def test_the_names_of_rabbitmq_s_own_urls_are_other_spellings(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.yaml", tmp_path / "ours.yaml"
    start = "broker: {url: 'amqps://a', tls: {"
    theirs.write_text(f"{start}cacertfile: /ca, certfile: /c, keyfile: /k, verify: verify_peer}}}}\n", encoding="utf-8")
    ours.write_text(f"{start}ca: /ca, cert: /c, key: /k, verify: true}}}}\n", encoding="utf-8")
    assert VALIDATOR.is_valid(yaml.safe_load(theirs.read_text(encoding="utf-8")))
    assert masked_yaml(theirs, [TOPIC]) == masked_yaml(ours, [TOPIC])
    for file in (theirs, ours):
        for word in ("broker.tls.ca=/word", "broker.tls.cacertfile=/word"):
            assert load(file, [TOPIC, word]).broker.tls.ca == "/word"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["broker.tls.ca=/ca.pem"],
            "broker.tls.ca is set, and broker.url does not begin with amqps://: write amqps://",
        ),
        (
            ["broker.url=[amqps://a,amqp://b]", "broker.tls.verify=false"],
            "broker.tls.verify is set, and broker.url does not begin with amqps://",
        ),
        (
            ["broker.url=${oc.env:PIKAS}", "broker.tls.ca=/ca.pem"],
            "broker.tls.ca is set, and broker.url has ssl_options, which say how TLS is done too: keep one of them",
        ),
        (
            ["broker.url=amqps://a", "broker.tls.key=/k"],
            "broker.tls.key is set without broker.tls.cert: name the certificate that it belongs to",
        ),
        (["broker.tls.ca=ca.pem"], "broker.tls.ca is 'ca.pem': it must be the absolute path of a file, or one from ~"),
        (["broker.tls.ca=5"], "broker.tls.ca is 5: it must be text: put it in quotes"),
        (
            ["broker.tls.verify=verify"],
            "broker.tls.verify is 'verify': it must be true or false, or verify_peer or verify_none",
        ),
        (["broker.tls.verify=1"], "broker.tls.verify is 1: it must be true or false"),
        (["broker.tls.verify=null"], "broker.tls.verify is null: it must be true or false"),
        (["broker.tls=x"], "broker.tls is text: it must be a mapping (keys: ca, cert, key, password, verify)"),
        (["broker.tls.keyfil=/k"], "there is no key 'broker.tls.keyfil': did you mean 'broker.tls.key'?"),
        (
            ["broker.tls={key: /k, keyfile: /k}"],
            "broker.tls.key and broker.tls.keyfile are two names of one key: keep one of them",
        ),
        (["broker.tls.cacertfile=ca.pem"], "broker.tls.ca is 'ca.pem': it must be the absolute path of a file"),
        (["broker.tls.password=5"], "broker.tls.password holds a password, and command lines can be read by others"),
    ],
)
def test_what_cannot_be_is_told_with_the_key_and_what_to_do(
    words: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIKAS", "amqps://a?ssl_options={}")
    with pytest.raises(UserMistake) as refused:
        config(*words)
    assert str(refused.value).startswith(expected)


@pytest.mark.parametrize("key", ["tls.ca", "tls.password", "tls.verify", "decoder", "ack_timeout_s"])
@pytest.mark.parametrize("variable", ["RABBIT_KEY_PASSWORD", "PLAIN"])
def test_what_the_environment_put_at_a_wrong_key_of_the_broker_is_not_repeated(
    key: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "hunter\udc80")
    with pytest.raises(UserMistake) as refused:
        config("broker.url=amqps://a", "broker.tls.cert=/c", f"broker.{key}=${{oc.env:{variable}}}")
    told = {"tls.password": "text: it must be UTF-8 text", "ack_timeout_s": "***: it must be a number"}
    assert str(refused.value).startswith(f"broker.{key} is {told.get(key, '***: it must be ')}")


def test_what_was_made_of_a_secret_of_the_broker_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAIN", "hunter2")
    words = ["broker.url=amqps://a", "broker.tls.password=${oc.env:PLAIN}", "broker.tls.cert=${broker.tls.password}"]
    with pytest.raises(UserMistake, match=r"broker\.tls\.cert is \*\*\*: it must be the absolute path"):
        config(*words)


def test_a_password_that_is_no_text_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    for value in ("!!binary aHVudGVyMg==", "12345", "[hunter2]", "{hunter2: 1}", "1.5"):
        file.write_text(f"broker: {{url: 'amqps://a', tls: {{cert: /c, password: {value}}}}}\n", encoding="utf-8")
        with pytest.raises(UserMistake) as refused:
            load(file, [TOPIC])
        assert str(refused.value).startswith("broker.tls.password is ")
        assert not any(word in str(refused.value) for word in ("hunter", "12345", "1.5"))
