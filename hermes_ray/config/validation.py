"""From plain values, as YAML gives them, to the checked dataclasses of ``settings``: one sentence for each mistake."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlsplit

from hermes_ray.config.secrets import mask_url
from hermes_ray.config.settings import NAME, NAME_WORDS, Config, Knob, TopicConfig, knob
from hermes_ray.errors import UserMistake

__all__ = ["build", "dotted", "nearest", "shown", "unknown_key", "valid_keys"]

SHOWN_CHARACTERS = 80

RENAMED = {"cluster": "deployment"}

RESERVED_QUEUE = re.compile(r"(?P<queue>.+)\.(?:dead|wait\.\d+)", re.DOTALL)

_KEYS: dict[Any, tuple[Callable[[str], bool], str]] = {
    TopicConfig: (lambda key: re.fullmatch(NAME, key) is not None, f"text of {NAME_WORDS}"),
    float: (
        lambda key: key not in ("", "CPU", "GPU", "memory", "object_store_memory"),
        "a custom resource's (CPUs and memory are set by num_cpus and memory)",
    ),
    Any: (str.isidentifier, "a keyword argument's"),
}

NUMERIC_QUERY = {"blocked_connection_timeout", "channel_max", "connection_attempts", "frame_max", "heartbeat"}
NUMERIC_QUERY |= {"retry_delay", "socket_timeout", "stack_timeout"}
OTHER_QUERY = {"client_properties", "locale", "ssl_options", "tcp_options"}


_hints = functools.cache(get_type_hints)


def build(raw: Any, *, need_topics: bool) -> Config:
    """The ``Config`` of a plain tree of values; raises ``UserMistake`` with one sentence for the first mistake."""
    config: Config = _section(Config, raw, "")
    if need_topics and not config.topics:
        raise UserMistake(
            "there are no topics: give config=FILE, or write topics.NAME.handler=package.module:name for each topic"
        )
    for name, topic in config.topics.items():
        _check_topic(dotted("topics", name), topic)
    _check_queues(config.topics)
    return config


def dotted(path: str, key: Any) -> str:
    """``path`` one level down, as the command line writes it: ``topics[a.b]`` for a key with dots."""
    plain = isinstance(key, str) and key.isprintable() and len(key) <= SHOWN_CHARACTERS
    text = mask_url(key) if plain else shown(key)
    if "." in text:
        return f"{path}[{text}]"
    return f"{path}.{text}" if path else text


def shown(value: Any) -> str:
    """``value`` for a sentence: one short line, no password; of containers only what they are."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    text = repr(mask_url(value) if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 4]}...{text[-1]}"


def nearest(name: str, names: Iterable[str]) -> str:
    """What to say instead of ``name``: the one that was meant, or all there are."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"


def _wrong(path: str, value: Any, declared: Knob, wanted: str) -> NoReturn:
    named = f" is {shown(value)}" if not declared.secret or not isinstance(value, str) else " is text"
    raise UserMistake(f"{path}{named}: it must be {wanted}")


def _section(section: type, raw: Any, path: str) -> Any:
    if not isinstance(raw, Mapping):
        keys = f" (keys: {', '.join(entry.name for entry in dataclasses.fields(section))})"
        need = ", with at least handler: package.module:name" if section is TopicConfig else keys
        raise UserMistake(f"{path or 'the configuration'} is {shown(raw)}: it must be a mapping{need}")
    hints = _hints(section)
    for key in raw:
        if key not in hints:
            raise unknown_key(section, path, key)
    values = {}
    for entry in dataclasses.fields(section):
        at = dotted(path, entry.name)
        missing = raw.get(entry.name, "???") == "???"
        if not missing:
            values[entry.name] = _value(hints[entry.name], knob(entry), raw[entry.name], at)
        elif entry.name in raw or entry.name == "handler":
            wanted = knob(entry).allowed
            raise UserMistake(f"{at} is missing: it must be {wanted}" if wanted else f"{at} is missing: give a value")
    return section(**values)


def _value(hint: Any, declared: Knob, raw: Any, path: str) -> Any:
    if isinstance(hint, UnionType):
        return None if raw is None else _value(get_args(hint)[0], declared, raw, path)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _section(hint, raw, path)
    if hint is Any:
        return _broker_url(declared, raw, path)
    if get_origin(hint) is dict:
        return _mapping(get_args(hint)[1], declared, raw, path)
    value = _scalar(hint, declared, raw, path)
    if declared.accepts is not None and not declared.accepts(value):
        _wrong(path, raw, declared, _wanted(hint, declared))
    return value


def _wanted(hint: type, declared: Knob) -> str:
    if hint is str:
        return declared.allowed or "text"
    unit = f" ({declared.unit})" if declared.unit else ""
    return f"a {'whole ' if hint is int else ''}number {declared.allowed}{unit}"


def _scalar(hint: type, declared: Knob, raw: Any, path: str) -> Any:
    """``raw`` as ``hint``: text becomes a number where one is wanted, because environment variables are text."""
    if hint is str:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            _wrong(path, raw, declared, "text: put it in quotes")
        if isinstance(raw, str):
            return raw
    elif isinstance(raw, int | float | str) and not isinstance(raw, bool):
        number = _number(hint, raw)
        if number is not None:
            return number
    _wrong(path, raw, declared, _wanted(hint, declared))


def _number(hint: type, raw: int | float | str) -> int | float | None:
    if hint is int and isinstance(raw, float):
        return None
    try:
        number: int | float = hint(raw)
        return number if math.isfinite(number) else None
    except (ValueError, OverflowError):
        return None


def _mapping(hint: Any, declared: Knob, raw: Any, path: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        _wrong(path, raw, declared, "a mapping of topic names to topics" if hint is TopicConfig else "a mapping")
    for key in raw:
        accepts, wanted = _KEYS[hint]
        if not isinstance(key, str) or not accepts(key):
            raise UserMistake(f"{path} holds the name {shown(key)}: it must be {wanted}")
    if hint is Any:
        return dict(raw)
    if hint is TopicConfig:
        return {name: _topic(name, value) for name, value in raw.items()}
    return {key: _value(hint, declared, value, dotted(path, key)) for key, value in raw.items()}


def _topic(name: str, raw: Any) -> TopicConfig:
    path = dotted("topics", name)
    if isinstance(raw, Mapping) and raw.get("queue") is None:
        raw = {**raw, "queue": name}
    topic: TopicConfig = _section(TopicConfig, raw, path)
    return topic


def valid_keys(section: type = Config, path: str = "") -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Every key below ``path`` with its type and declaration, depth first; topics as ``topics.NAME``."""
    hints = _hints(section)
    for entry in dataclasses.fields(section):
        at = f"{path}.{entry.name}" if path else entry.name
        yield at, hints[entry.name], entry
        if get_args(hints[entry.name])[1:] == (TopicConfig,):
            yield from valid_keys(TopicConfig, f"{at}.NAME")
        elif dataclasses.is_dataclass(hints[entry.name]):
            yield from valid_keys(hints[entry.name], at)


def unknown_key(section: type, path: str, key: Any, also: tuple[str, ...] = ()) -> UserMistake:
    """The sentence for a key that ``section`` at ``path`` does not have, with the nearest one it or its parts do.

    ``also``: words the command takes beside the keys.
    """
    here = {entry.name: dotted(path, entry.name) for entry in dataclasses.fields(section)} | {w: w for w in also}
    deeper = {at.rpartition(".")[2]: at for at, *_ in reversed([*valid_keys(section, path)])}
    start = f"there is no key {mask_url(dotted(path, key))!r}"
    if not path and key in RENAMED:
        return UserMistake(f"{start} any more: what was {key}.name is {RENAMED[key]}.name now")
    for names, cutoff in ((deeper, 1.0), (here, 0.6), (deeper, 0.8)):
        if near := difflib.get_close_matches(str(key), names, n=1, cutoff=cutoff):
            return UserMistake(f"{start}: did you mean {names[near[0]]!r}?")
    return UserMistake(f"{start}: valid here are {', '.join(here)}")


def _broker_url(declared: Knob, raw: Any, path: str) -> str | list[str]:
    if isinstance(raw, str):
        _check_url(raw, path)
        return raw
    if not isinstance(raw, list) or not raw:
        value = "an empty list" if raw == [] else shown(raw)
        raise UserMistake(f"{path} is {value}: it must be {declared.allowed}")
    for index, url in enumerate(raw):
        if not isinstance(url, str):
            raise UserMistake(f"{path}[{index}] is {shown(url)}: it must be an AMQP URL")
        _check_url(url, f"{path}[{index}]")
    return raw


def _check_url(url: str, path: str) -> None:
    problem = _url_problem(url)
    if problem:
        raise UserMistake(
            f"{path} is {shown(url)}: {problem}; write amqp://USER:PASSWORD@HOST:PORT/VHOST, special characters as %XX"
        )


def _url_problem(url: str) -> str | None:
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "it holds spaces or control characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "its host or port (1 to 65535) cannot be read"
    if parts.scheme not in ("amqp", "amqps"):
        return "the scheme must be amqp or amqps"
    if not parts.hostname or port == 0:
        return "the port must be 1 to 65535" if parts.hostname else "the host is missing"
    if parts.fragment or "/" in parts.path[1:]:
        return "the virtual host must not hold '/' or '#'"
    return _query_problem(parts.query)


def _query_problem(query: str) -> str | None:
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in NUMERIC_QUERY | OTHER_QUERY:
            return f"there is no URL parameter {key!r}"
        if key in NUMERIC_QUERY and not re.fullmatch(r"[0-9]{1,9}", value):
            return f"the URL parameter {key!r} must be a whole number"
    return None


def _check_topic(path: str, topic: TopicConfig) -> None:
    for part, section, small, large in (
        ("workers", topic.workers, "min", "max"),
        ("retry", topic.retry, "base_delay_s", "max_delay_s"),
        ("scaling.threshold", topic.scaling.threshold, "min_step", "max_step"),
        ("scaling.threshold", topic.scaling.threshold, "down_ready_count", "up_ready_count"),
    ):
        low, high = getattr(section, small), getattr(section, large)
        if low > high:
            at = f"{path}.{part}"
            raise UserMistake(f"{at}.{small} is {low:.15g}: it must not exceed {at}.{large}, which is {high:.15g}")


def _check_queues(topics: Mapping[str, TopicConfig]) -> None:
    owners: dict[str, str] = {}
    for name, topic in topics.items():
        path, queue = dotted("topics", name), str(topic.queue)
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
