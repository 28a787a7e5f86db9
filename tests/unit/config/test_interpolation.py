"""``${...}``: what is replaced here is replaced as OmegaConf does it, and a mistake is told in the same words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermes_ray.config import grammar
from hermes_ray.config.interpolation import resolve
from hermes_ray.config.loading import load
from hermes_ray.config.secrets import Hidden
from hermes_ray.errors import UserMistake

NAMES = ["a", "b", "c-d", "e_f"]
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3)
REFERENCES = st.builds(
    lambda dots, path: f"${{{dots}{'.'.join(path)}}}", st.sampled_from(["", "", ".", "..", "..."]), PATHS
) | st.builds(lambda first, second: f"${{{first}[{second}]}}", st.sampled_from(NAMES), st.sampled_from(NAMES))
VARIABLES = st.sampled_from(
    [
        "${oc.env:SET}",
        "${oc.env:SET,b}",
        "${oc.env:UNSET}",
        "${oc.env:UNSET,plain}",
        "${oc.env:UNSET,'in quotes, with $'}",
        '${oc.env:UNSET,"other quotes"}',
        "${oc.env:UNSET,5}",
        "${oc.env:UNSET,1e3}",
        "${oc.env:UNSET,true}",
        "${oc.env:UNSET,Null}",
        "${oc.env:UNSET,''}",
        "${oc.env:UNSET,amqp://h:5/v}",
        "${oc.env:UNSET,${oc.env:SET}}",
        "${oc.env:UNSET,${a}}",
        "${oc.decode:'[1, 2]'}",
        "\\${a}",
        "back\\slash",
        "${",
        "$a ${a",
        "${b:c}",
        "???",
    ]
)
TEXTS = REFERENCES | VARIABLES | st.builds("{} and {}".format, REFERENCES, VARIABLES) | st.sampled_from(["text", "$"])
LEAVES = TEXTS | st.integers(0, 9) | st.booleans() | st.none() | st.floats(0, 1)
TREES = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), LEAVES, max_size=4),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), LEAVES | inner | st.lists(LEAVES, max_size=2), max_size=4),
    max_leaves=10,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SET", "value of ${a}")
    monkeypatch.delenv("UNSET", raising=False)


def outcome(how: Any, tree: Any) -> Any:
    try:
        return how(tree)
    except UserMistake as error:
        return str(error)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=TREES)
def test_every_tree_is_resolved_or_refused_as_by_omegaconf(tree: Any) -> None:
    mine, theirs = outcome(resolve, tree), outcome(grammar.resolved, tree)
    assert mine == theirs or (isinstance(mine, str) and isinstance(theirs, str))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_of_any_length_is_followed(backwards: bool) -> None:
    links = [f"${{t{number - 1}}}" if number else "end" for number in range(3000)]
    numbers = reversed(range(3000)) if backwards else range(3000)
    assert set(resolve({f"t{number}": links[number] for number in numbers}).values()) == {"end"}


def test_a_reference_takes_a_whole_mapping_and_what_that_refers_to() -> None:
    tree = {"a": "${b}", "b": {"x": "${.y}", "y": ["${c}", 1]}, "c": "${oc.env:UNSET,'end'}"}
    assert resolve(tree)["a"] == {"x": ["end", 1], "y": ["end", 1]}


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize("text", ["${oc.env:EMPTY,'x'}", "${oc.env:EMPTY,${oc.env:UNSET,x}}", "${oc.env: EMPTY, x}"])
def test_an_empty_variable_counts_as_unset_where_there_is_a_default(
    text: str, empty: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "") if empty is not None else monkeypatch.delenv("EMPTY", raising=False)
    assert resolve({"a": text}) == {"a": "x"}


def test_an_empty_variable_without_a_default_is_empty_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    assert resolve({"a": "x${oc.env:EMPTY}", "b": "${oc.env: EMPTY}"}) == {"a": "x", "b": ""}


@pytest.mark.parametrize(
    ("home", "directory"),
    [
        (None, "~/.local/state/hermes_ray"),
        ("", "~/.local/state/hermes_ray"),
        ("relative/path", "~/.local/state/hermes_ray"),
        ("/srv/state", "/srv/state/hermes_ray"),
        ("~/state", "~/state/hermes_ray"),
    ],
)
def test_the_state_directory_follows_the_xdg_specification(
    home: str | None, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", home) if home is not None else monkeypatch.delenv("XDG_STATE_HOME", False)
    assert load(None, ["topics.a.handler=m:f"]).state_dir == directory


def test_an_empty_broker_url_in_the_environment_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_BROKER_URL", "")
    assert load(None, ["topics.a.handler=m:f"]).broker.urls == ("amqp://guest:guest@127.0.0.1:5672/%2F",)


def test_a_mapping_on_the_command_line_goes_over_what_a_reference_leads_to(tmp_path: Any) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(
        "topics: {a: {handler: m:f, retry: {max_attempts: 7}}, b: {handler: m:f, retry: '${topics.a.retry}'}}"
    )
    retry = load(file, ["topics.b.retry.base_delay_s=3"]).topics["b"].retry
    assert (retry.max_attempts, retry.base_delay_s, retry.max_delay_s) == (7, 3, 1800)


@pytest.mark.parametrize(
    ("tree", "hidden"),
    [
        ({"x": "a-${oc.env:DB_PASSWORD}"}, True),
        ({"x": "a-${oc.env:SET}"}, False),
        ({"x": "${y}", "y": "${oc.env:DB_PASSWORD}"}, True),
        ({"x": "a-${y}", "y": "${oc.env:DB_PASSWORD}"}, True),
        ({"x": "${topics.options.pw}", "topics": {"options": {"pw": "s"}}}, True),
        ({"x": "${broker.url}", "broker": {"url": "amqp://u:p@h"}}, True),
        ({"x": "${oc.env:DB_PASSWORD,${y}}", "y": "1"}, True),
    ],
)
def test_what_was_made_of_a_secret_is_marked(tree: Any, hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    assert isinstance(resolve(tree)["x"], Hidden) == hidden


def test_a_name_made_of_a_secret_is_not_repeated_in_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter/2")
    with pytest.raises(UserMistake, match=r"deployment\.name is \*\*\*: it must be 1 to 200 letters"):
        load(None, ["topics.a.handler=m:f", "deployment.name=${oc.env:DB_PASSWORD}"])
