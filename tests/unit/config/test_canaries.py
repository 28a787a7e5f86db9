"""Nothing the configuration prints, raises or writes shows a part of a secret: the whole table of canaries."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.cli.main import cli
from hermes_ray.config.loading import load
from hermes_ray.config.option_secrets import without_secrets
from hermes_ray.config.secrets import mask_url, refused_url
from hermes_ray.deploy.changes import applied, compare
from hermes_ray.errors import UserMistake
from hermes_ray.scaler.plan import Plan, queue_spec, worker_spec
from tests.support.canaries import ACCEPTED, PASSWORDS, REFUSED, REFUSED_URLS, REFUSED_WORDS, Canary, amqp_url, leaks

PLAIN = Plan(config=load(None, ["topics.a.handler=m:f", "broker.url=amqp://h"]), concurrency={"a": 4})


@contextmanager
def in_place(canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The words that name the file of ``canary``, while its environment variables are set."""
    file = tmp_path / "hermes.yaml"
    file.write_text(canary.text, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.delenv("HERMES_BROKER_URL", raising=False)
        for name, value in canary.environment.items():
            patch.setenv(name, value)
        yield [f"config={file}", *canary.words]


def printed(*words: str) -> tuple[int, str]:
    """The exit code of ``hermes config`` and all it prints."""
    done = CliRunner().invoke(cli, ["config", *words])
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize("canary", [*ACCEPTED, *REFUSED], ids=lambda canary: canary.text[:60])
def test_a_canary_has_a_secret(canary: Canary) -> None:
    assert leaks(f"{canary.text}{canary.words}{json.dumps(dict(canary.environment), ensure_ascii=False)}")


@pytest.mark.parametrize("canary", ACCEPTED, ids=lambda canary: canary.text[:60])
def test_a_configuration_with_secrets_shows_none(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_place(canary, tmp_path, monkeypatch) as words:
        config = load(words[0].removeprefix("config="), words[1:])
        code, output = printed(*words)
    plan = Plan(config=config, concurrency={"a": 4}, environment={"env_vars": {"PASSWORD": "Zq7"}})
    said = {**applied(PLAIN), "stopped": [], "stopping": False}
    spec, queue = worker_spec(plan, "a"), queue_spec(config, "a")
    shown = [output, repr(config), str(config), repr(plan), repr(spec), repr(queue), str(applied(plan))]
    shown.append(str(list(map(str, compare(said, plan)))))
    assert (code, list(map(leaks, shown))) == (0, [[]] * len(shown))


@pytest.mark.parametrize("canary", REFUSED, ids=lambda canary: canary.text[:60])
def test_a_configuration_that_is_refused_shows_none_of_its_secrets(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_place(canary, tmp_path, monkeypatch) as words:
        with pytest.raises(UserMistake) as caught:
            load(words[0].removeprefix("config="), words[1:])
        code, output = printed(*words)
    told = "".join(traceback.format_exception(caught.value))
    assert (code, leaks(output), leaks(told), leaks(repr(caught.value))) == (2, [], [], [])
    assert output.count("\n") == 1


@pytest.mark.parametrize("word", REFUSED_WORDS)
def test_a_word_that_is_refused_shows_none_of_its_secrets(word: str) -> None:
    code, output = printed("topics.a.handler=m:f", word)
    assert (code, leaks(output), output.count("\n")) == (2, [], 1)


@pytest.mark.parametrize("option", ["--schema", "--json-schema"])
def test_what_is_told_of_all_keys_does_not_depend_on_the_environment(
    option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERMES_BROKER_URL", amqp_url("Zq7"))
    code, output = printed(option)
    assert (code, leaks(output)) == (0, [])


@pytest.mark.parametrize("url", [*REFUSED_URLS, *map(amqp_url, PASSWORDS)])
def test_of_a_refused_url_only_the_scheme_and_what_follows_the_last_at_are_shown(url: str) -> None:
    shown = refused_url(url)
    before, _, after = shown.partition("***")
    assert url.lstrip().startswith(before)
    assert before == "" or before.endswith((":", "://"))
    assert after == "" or (after.startswith("@") and url.rpartition("@")[2].startswith(after[1:]))
    assert leaks(shown) == []


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_driver_that_repeats_a_password_in_any_form_is_not_quoted(password: str) -> None:
    options = {"url": amqp_url(password), "other": {"password": password}}
    forms = [password, amqp_url(password), repr(password), json.dumps(password), f"//me:{password}@h", f"({password})"]
    for form in forms:
        assert leaks(without_secrets(f"cannot read {form} there", options)) == [], form
        assert leaks(without_secrets(f"cannot read {form} there", {"url": amqp_url(password)})) == [], form


PIECES = ["Zq7", *"/@:?#%&= ;,'\"\\{}[]<|$*!~-+()`^.\t1ü", "password=", "a=", "12345", "x://"]


@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=5),
    scheme=st.sampled_from(["amqp://", "https://", "jdbc:pg://", "AMQPS://"]),
    around=st.sampled_from(["{}", "tried {}", "({}) and http://other:80/", "a: {}, {}"]),
)
def test_no_part_of_a_password_gets_out_of_a_url(pieces: list[str], scheme: str, around: str) -> None:
    password = f"Zq7{''.join(pieces)}"
    url = f"{scheme}me:{password}@host/v"
    assert leaks(refused_url(url)) == []
    assert leaks(without_secrets(f"{url} with {password} or {password!r}", {"url": url})) == []
    if "://" not in password or "@" not in password:
        assert leaks(mask_url(around.replace("{}", url))) == []


def test_masking_twice_is_masking_once() -> None:
    for url in (*REFUSED_URLS, *map(amqp_url, PASSWORDS)):
        assert mask_url(mask_url(url)) == mask_url(url)
    assert not any(leaks(mask_url(amqp_url(password))) for password in PASSWORDS)
