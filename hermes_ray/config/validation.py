"""From plain values, as YAML gives them, to the checked dataclasses of ``settings``: one sentence for each mistake."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin

from hermes_ray.config.agreement import check_exchanges, check_queue, check_timeout
from hermes_ray.config.bindings import X_MATCH
from hermes_ray.config.keys import hints_of, unknown_key
from hermes_ray.config.knobs import Knob, knob
from hermes_ray.config.names import NAME, NAME_WORDS
from hermes_ray.config.queue_arguments import KNOWN, ArgumentValue, argument_value, is_argument_name, never
from hermes_ray.config.secrets import refused_url
from hermes_ray.config.sentences import dotted, dotted_path, shortened, shown
from hermes_ray.config.settings import Config, TopicConfig
from hermes_ray.config.tls import tls_problem
from hermes_ray.config.urls import is_utf8, url_problem
from hermes_ray.config.yaml_text import FLOAT, INT
from hermes_ray.errors import UserMistake

__all__ = ["Unquoted", "build"]

RESERVED_QUEUE = re.compile(r"(?P<queue>.+)\.(?:dead|wait\.\d+)", re.DOTALL)

Keys = tuple[Any, ...]  # from the root to a value; a sentence is made of them only when there is something to say

RAY_NAMES = ("CPU", "memory", "object_store_memory")

_KEYS: dict[Any, tuple[Callable[[str], bool], str]] = {
    TopicConfig: (lambda key: re.fullmatch(NAME, key) is not None, f"text of {NAME_WORDS}"),
    float: (
        lambda key: key not in ("", *RAY_NAMES),
        "another resource's (CPUs and memory are set by num_cpus and memory)",
    ),
    Any: (str.isidentifier, "a keyword argument's"),
    ArgumentValue: (is_argument_name, "an argument's, printable text of 1 to 255 bytes"),
}


class Unquoted(UserMistake):
    """The value at ``path`` is to be text, and YAML reads it as something else."""

    def __init__(self, said: str, path: Keys = ()) -> None:
        super().__init__(said)
        self.path = path


def build(raw: Any, *, need_topics: bool) -> Config:
    """The ``Config`` of a plain tree of values; raises ``UserMistake`` with one sentence for the first mistake."""
    config: Config = _section(Config, raw, ())
    if need_topics and not config.topics:
        raise UserMistake(
            "there are no topics: give config=FILE, or write topics.NAME.handler=package.module:name for each topic"
        )
    for name, topic in config.topics.items():
        _check_topic(dotted("topics", name), topic)
        check_timeout(dotted("topics", name), topic.worker.timeout_s, config.broker.ack_timeout_s)
        check_queue(dotted("topics", name), config.queue_of(name), topic)
    if problem := tls_problem(config.broker.tls, config.broker.urls):
        raise UserMistake(problem)
    check_exchanges(config)
    _check_queues({name: topic.get("queue") or name for name, topic in raw.get("topics", {}).items()})
    return config


def _wrong(path: Keys, value: Any, declared: Knob, wanted: str) -> NoReturn:
    raise UserMistake(f"{dotted_path(path)} is {_named(value, declared)}: it must be {wanted}")


def _named(value: Any, declared: Knob) -> str:
    """``value`` for a sentence; of one that may be a secret only what it is."""
    if not declared.secret or value is None or isinstance(value, bool | Mapping | list):
        return shown(value)
    return "text" if isinstance(value, str) else "a number" if isinstance(value, int | float) else "no text"


def _section(section: type, raw: Any, path: Keys) -> Any:
    if not isinstance(raw, Mapping):
        keys = f" (keys: {', '.join(entry.name for entry in dataclasses.fields(section))})"
        need = ", with at least handler: package.module:name" if section is TopicConfig else keys
        # What stands for the broker may be a URL, or a password.
        said = "text" if path[:1] == ("broker",) and isinstance(raw, str) else shown(raw)
        raise UserMistake(f"{dotted_path(path) or 'the configuration'} is {said}: it must be a mapping{need}")
    knobs = _knobs(section)
    for key in raw:
        if key not in knobs:
            raise unknown_key(section, dotted_path(path), key)
    values = {}
    for name, (hint, declared) in knobs.items():
        value = raw.get(name, "???")
        if not isinstance(value, str) or value != "???":
            values[name] = _value(hint, declared, value, (*path, name))
        elif name in raw or name in _required(section):
            wanted = declared.allowed
            at = dotted_path((*path, name))
            raise UserMistake(f"{at} is missing: it must be {wanted}" if wanted else f"{at} is missing: give a value")
    return section(**values)


@functools.cache
def _knobs(section: type) -> dict[str, tuple[Any, Knob]]:
    hints = hints_of(section)
    return {entry.name: (hints[entry.name], knob(entry)) for entry in dataclasses.fields(section)}


@functools.cache
def _required(section: type) -> frozenset[str]:
    kinds = (dataclasses.MISSING, dataclasses.MISSING)
    return frozenset(e.name for e in dataclasses.fields(section) if (e.default, e.default_factory) == kinds)


def _value(hint: Any, declared: Knob, raw: Any, path: Keys) -> Any:
    if hint == ArgumentValue:
        return _argument(declared, raw, path)
    if isinstance(hint, UnionType):
        return None if raw is None else _value(get_args(hint)[0], declared, raw, path)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _section(hint, raw, path)
    if hint is Any:
        return _broker_url(declared, raw, path)
    if get_origin(hint) in (dict, list):
        container: Callable[..., Any] = _mapping if get_origin(hint) is dict else _list
        return container(get_args(hint)[-1], declared, raw, path)
    value = _scalar(hint, declared, raw, path)
    if declared.accepts is not None and not declared.accepts(value):
        _wrong(path, raw, declared, _wanted(hint, declared))
    return value


def _wanted(hint: type, declared: Knob) -> str:
    if hint in (str, bool):
        return declared.allowed or "text"
    unit = f" ({declared.unit})" if declared.unit else ""
    return f"a {'whole ' if hint is int else ''}number {declared.allowed}{unit}"


def _scalar(hint: type, declared: Knob, raw: Any, path: Keys) -> Any:
    """``raw`` as ``hint``: text becomes a number where one is wanted, because environment variables are text."""
    if declared.parse is not None and isinstance(raw, str) and (read := declared.parse(raw)) is not None:
        return read
    if hint is str:
        if isinstance(raw, str):
            _check_utf8(declared, raw, path)
            return str(raw)
        if isinstance(raw, int | float) and not (isinstance(raw, bool) and "enum" in declared.schema):
            said = "no text" if declared.secret else shown(raw)
            raise Unquoted(f"{dotted_path(path)} is {said}: it must be text: put it in quotes", path)
    elif hint is bool:
        if isinstance(raw, bool) or (isinstance(raw, str) and raw.lower() in ("true", "false")):
            return str(raw).lower() == "true"
    elif isinstance(raw, int | float | str) and not isinstance(raw, bool):
        if (number := _number(hint, raw)) is not None:
            return number
        if isinstance(raw, str) and re.fullmatch(r"\s*[-+]?0[\w]+\s*", raw):
            _wrong(path, raw, declared, f"{_wanted(hint, declared)}, in decimal without leading zeros")
    _wrong(path, raw, declared, _wanted(hint, declared))


def _check_utf8(declared: Knob, raw: Any, path: Keys) -> None:
    """Text from the environment may hold any bytes; the broker, Ray and the metrics are sent UTF-8 alone."""
    if isinstance(raw, str) and not is_utf8(raw):
        _wrong(path, raw, declared, "UTF-8 text")


def _number(hint: type, raw: int | float | str) -> int | float | None:
    if hint is int and isinstance(raw, float):
        return None
    if isinstance(raw, str) and not re.fullmatch(INT if hint is int else f"{INT}|(?!0[0-9_]){FLOAT}", raw.strip()):
        return None
    try:
        number: int | float = hint(raw)
        return number if math.isfinite(number) else None
    except (ValueError, OverflowError):
        return None


def _mapping(hint: Any, declared: Knob, raw: Any, path: Keys) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        _wrong(path, raw, declared, "a mapping of topic names to topics" if hint is TopicConfig else "a mapping")
    for key in raw:
        accepts, wanted = _KEYS[hint]
        if not isinstance(key, str) or not accepts(key):
            name = "a name that is none" if declared.secret and not _is_word(key) else f"the name {shown(key)}"
            quotes = "" if isinstance(key, str) else ": put it in quotes"
            raise UserMistake(f"{dotted_path(path)} holds {name}: it must be {wanted}{quotes}")
    if hint is Any:
        return dict(raw)
    if hint is TopicConfig:
        return {name: _topic(name, value) for name, value in raw.items()}
    return {key: _value(hint, declared, value, (*path, key)) for key, value in raw.items()}


def _list(kind: type, declared: Knob, raw: Any, path: Keys) -> list[Any]:
    if not isinstance(raw, list):
        _wrong(path, raw, declared, f"a list of mappings (keys: {', '.join(_knobs(kind))})")
    return [_section(kind, item, (*path, index)) for index, item in enumerate(raw)]


def _argument(declared: Knob, raw: Any, path: Keys) -> ArgumentValue:
    """An argument of a queue or a binding; of those of queues most are known."""
    is_of_queue, name = path[-2] == "queue_arguments", path[-1]
    if is_of_queue and (why := never(name)):
        raise UserMistake(f"{dotted_path(path)} is {shown(raw)}: {why}")
    known = KNOWN.get(name) if is_of_queue else None
    _check_utf8(declared, raw, path)
    value = argument_value(name if is_of_queue else "", raw)
    if name == "x-match" and not is_of_queue and value not in X_MATCH:
        _wrong(path, raw, declared, " or ".join(X_MATCH))
    if value is None:
        _wrong(path, raw, declared, known.allowed if known else "text, a whole number of 64 bits, or true or false")
    return value


def _is_word(key: Any) -> bool:
    """Whether a name among options may be repeated: one with a slip such as ``password:hunter2`` may not."""
    return not isinstance(key, str) or re.fullmatch(r"[\w .-]*", key) is not None


def _topic(name: str, raw: Any) -> TopicConfig:
    if isinstance(raw, Mapping) and raw.get("queue") is None:
        raw = {**raw, "queue": name}
    topic: TopicConfig = _section(TopicConfig, raw, ("topics", name))
    return topic


def _broker_url(declared: Knob, raw: Any, path: Keys) -> str | list[str]:
    if isinstance(raw, str):
        _check_url(raw, path)
        return raw
    if not isinstance(raw, list) or not raw:
        value = "an empty list" if raw == [] else shown(raw)
        raise UserMistake(f"{dotted_path(path)} is {value}: it must be {declared.allowed}")
    for index, url in enumerate(raw):
        if not isinstance(url, str):
            raise UserMistake(f"{dotted_path((*path, index))} is {shown(url)}: it must be an AMQP URL")
        _check_url(url, (*path, index))
    return raw


def _check_url(url: str, path: Keys) -> None:
    problem = url_problem(url)
    if problem:
        named = shortened(repr(refused_url(url))) if url else "empty"
        raise UserMistake(
            f"{dotted_path(path)} is {named}: {problem}; write amqp://USER:PASSWORD@HOST:PORT/VHOST, "
            "special characters as %XX"
        )


def _check_topic(path: str, topic: TopicConfig) -> None:
    for part, section, small, large in (
        ("workers", topic.workers, "min", "max"),
        ("worker", topic.worker, "concurrency", "prefetch"),
        ("retry", topic.retry, "base_delay_s", "max_delay_s"),
        ("scaling.threshold", topic.scaling.threshold, "min_step", "max_step"),
        ("scaling.threshold", topic.scaling.threshold, "down_ready_count", "up_ready_count"),
    ):
        low, high = getattr(section, small), getattr(section, large)
        if low is not None and high is not None and low > high:
            at = f"{path}.{part}"
            raise UserMistake(f"{at}.{small} is {low:.15g}: it must not exceed {at}.{large}, which is {high:.15g}")


def _check_queues(queues: Mapping[str, str]) -> None:
    """``queues`` by topic, before they became plain text: one that came from a secret is not repeated."""
    owners: dict[str, str] = {}
    for name, queue in queues.items():
        path = dotted("topics", name)
        if queue in owners:
            raise UserMistake(
                f"{path}.queue is {shown(queue)}, which {owners[queue]} uses too: give each topic a queue of its own"
            )
        owners[queue] = path
    for queue, path in owners.items():
        match = RESERVED_QUEUE.fullmatch(queue)
        if match and match["queue"] in owners:
            other = owners[match["queue"]]
            raise UserMistake(f"{path}.queue is {shown(queue)}, where {other} keeps retries or dead letters: rename it")
