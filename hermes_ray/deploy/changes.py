"""What an apply changes, and how: live, rolling or topology. Secrets are compared by fingerprint."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hermes_ray.config.secrets import mask_url
from hermes_ray.config.settings import Config, knob
from hermes_ray.config.validation import dotted
from hermes_ray.scaler.plan import Plan, digest, revision, topology_of

__all__ = ["Change", "applied", "compare"]

Tree = Mapping[str, Any]

LIVE, ROLLING, TOPOLOGY = "live", "rolling", "topology"
ROLLING_KEYS = ("handler", "options", "worker")
TOPOLOGY_KEYS = ("queue", "queue_type", "topology")


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
    changes += _changed_values(before["values"], now["values"], [topic for topic in wanted if topic in was])
    if before["code"] != now["code"]:
        changes.append(Change(what="the code", how=ROLLING))
    elif before["import_paths"] != now["import_paths"]:
        changes.append(Change(what=f"the same code is now in {', '.join(plan.import_paths)}", how=LIVE))
    if before["rolled"] != now["rolled"]:
        changes.append(Change(what="roll=true", how=ROLLING))
    return changes


def _changed_values(was: Mapping[str, str], now: Mapping[str, str], topics: Sequence[str]) -> Iterator[Change]:
    kept = tuple(f"{dotted('topics', topic)}." for topic in topics)
    differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    for key in differing:
        if any(other.startswith((f"{key}.", f"{key}[")) for other in differing):
            continue  # an empty mapping that is filled now, or the other way round
        before, after = was.get(key, "unset"), now.get(key, "unset")
        if not key.startswith(("topics.", "topics[")) or key.startswith(kept):
            how = next((_how(key.removeprefix(prefix)) for prefix in kept if key.startswith(prefix)), _how(key))
            shown = "changed" if before.startswith("sha256:") or after.startswith("sha256:") else f"{before} -> {after}"
            yield Change(what=f"{key}: {shown}", how=how)


def _how(key: str) -> str:
    first = key.partition(".")[0]
    if key == "broker.url" or first in ROLLING_KEYS:
        return ROLLING
    return TOPOLOGY if first in TOPOLOGY_KEYS else LIVE


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
            yield from _flat(dotted(key, str(name)), item, secret=secret)
    elif secret:
        yield key, f"sha256:{digest(value)}"
    else:
        yield key, mask_url(str(value))
