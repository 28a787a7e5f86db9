"""What an apply changes, and how: live, rolling or topology. Secrets are compared by fingerprint."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hermes_ray.config.keys import valid_keys
from hermes_ray.config.knobs import Knob, Takes, knob
from hermes_ray.config.secrets import mask_url
from hermes_ray.config.sentences import dotted
from hermes_ray.config.settings import Config, TopicConfig
from hermes_ray.scaler.plan import Plan, digest, revision, topology_of

__all__ = ["Change", "applied", "compare"]

Tree = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between what runs and what is wanted: ``what`` differs, ``how`` it takes effect."""

    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what} ({self.how})" if self.how else self.what


def applied(plan: Plan) -> dict[str, Any]:
    """What there is to know of a plan for the next one: plain data without secrets."""
    config = plan.config
    return {
        "generation": plan.generation,
        "rolled": plan.rolled,
        "code": plan.code,
        "import_paths": list(plan.import_paths),
        "concurrency": dict(plan.concurrency),
        "values": dict(_values(config)),
        "revisions": {topic: revision(plan, topic) for topic in config.topics},
        "single_active": sorted(plan.single_active),
        "rungs_ms": {
            topic: sorted({*topology_of(config, topic).rungs_ms, *plan.former_rungs_ms.get(topic, ())})
            for topic in config.topics
        },
    }


def compare(before: Tree, plan: Plan) -> list[Change]:
    """The changes from what runs (see ``Scaler.applied``) to ``plan``; none if applying it again would do nothing."""
    now = applied(plan)
    was, wanted = before["revisions"], now["revisions"]
    changes = [Change(what=f"topic {topic} starts", how="") for topic in wanted if topic not in was]
    changes += [
        Change(what=f"topic {topic} drains and is left out; its queue stays", how="")
        for topic in was
        if topic not in wanted
    ]
    changes += [Change(what=f"topic {topic} starts again", how="") for topic in before["stopped"] if topic in wanted]
    changes += _changed_values(before["values"], now["values"], was.keys() & wanted.keys())
    changes += _served_otherwise(before.get("single_active", ()), now["single_active"], was)
    if before["code"] != now["code"]:
        changes.append(Change(what="the code", how=Takes.ROLLING))
    elif before["import_paths"] != now["import_paths"]:
        changes.append(Change(what=f"the same code is now in {', '.join(plan.import_paths)}", how=Takes.LIVE))
    if before["rolled"] != now["rolled"]:
        what = "roll=true" if now["rolled"] > before["rolled"] else "the roll-out that roll=true forced, back"
        changes.append(Change(what=what, how=Takes.ROLLING))
    return changes


def _served_otherwise(before: Collection[str], now: Collection[str], was: Collection[str]) -> Iterator[Change]:
    """Topics that ran before whose queue has a single active consumer now, or has it no more."""
    for topic in sorted({*before} ^ {*now}):
        if topic in was:
            served = "one consumer at a time" if topic in now else "all consumers"
            yield Change(what=f"the queue of topic {topic} serves {served}", how=Takes.LIVE)


_OF_TOPIC = re.compile(r"topics(?:\.(?P<plain>[^.\[]+)|\[(?P<dotted>[^\]]+)\])\.(?P<key>.+)", re.DOTALL)


def _changed_values(was: Mapping[str, str], now: Mapping[str, str], topics: Collection[str]) -> Iterator[Change]:
    differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    above = {key[: end.start()] for key in differing for end in re.finditer(r"[.\[]", key)}
    for key in differing:
        of_topic = _OF_TOPIC.fullmatch(key)
        if key in above or (of_topic and (of_topic["plain"] or of_topic["dotted"]) not in topics):
            continue  # an empty mapping that is filled now, or the other way round; a topic that starts or drains
        takes = _takes(TopicConfig, of_topic["key"]) if of_topic else _takes(Config, key)
        before, after = was.get(key, "unset"), now.get(key, "unset")
        shown = "changed" if before.startswith("sha256:") or after.startswith("sha256:") else f"{before} -> {after}"
        yield Change(what=f"{key}: {shown}", how=takes)


def _takes(section: type, key: str) -> Takes:
    """What a change at ``key`` of a section takes; ``key`` may be deep in the mapping that a knob holds."""
    knobs = _knobs(section)
    ends = [len(key), *(end.start() for end in reversed(list(re.finditer(r"[.\[]", key))))]
    found = next((knobs[key[:end]] for end in ends if key[:end] in knobs), None)
    return found.takes if found else Takes.LIVE  # a knob of another version of hermes_ray


@functools.cache
def _knobs(section: type) -> dict[str, Knob]:
    return {at: knob(entry) for at, _, entry in valid_keys(section)}


def _values(config: Config) -> Iterator[tuple[str, str]]:
    for entry in dataclasses.fields(Config):
        if entry.name != "topics":
            yield from _flat(entry.name, getattr(config, entry.name), secret=False)
    for name, topic in config.topics.items():
        yield from _flat(dotted("topics", name), topic, secret=False)


def _flat(key: str, value: Any, *, secret: bool) -> Iterator[tuple[str, str]]:
    if dataclasses.is_dataclass(value):
        for entry in dataclasses.fields(value):
            yield from _flat(f"{key}.{entry.name}", getattr(value, entry.name), secret=knob(entry).secret)
    elif isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(_below(key, str(name)), item, secret=secret)
    elif isinstance(value, list) and any(map(dataclasses.is_dataclass, value)):
        for index, item in enumerate(value):
            yield f"{key}[{index}]", str(item)
    elif secret:
        yield key, f"sha256:{digest(value)}"
    else:
        yield key, mask_url(str(value))


def _below(key: str, name: str) -> str:
    """``name`` below ``key``; two names that are shown alike, because secrets in them are hidden, stay two."""
    shown = dotted(key, name)
    return shown if name in shown else f"{shown}#{digest(name)}"
