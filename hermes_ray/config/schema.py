"""The declarations of all knobs for people, as rows of a table, and for editors, as a JSON Schema of the file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from hermes_ray.config.keys import valid_keys
from hermes_ray.config.knobs import Knob, knob
from hermes_ray.config.names import NAME
from hermes_ray.config.queue_arguments import ArgumentValue
from hermes_ray.config.settings import Config, TopicConfig
from hermes_ray.config.validation import RAY_NAMES

__all__ = ["SchemaRow", "json_schema", "schema_rows"]

REFERENCE = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "Taken from elsewhere: ${oc.env:NAME}, ${another.key}.",
}
_TO_REFERENCE = {"$ref": "#/$defs/reference"}
_HOST = r"(?:\[[0-9A-Fa-f:.%]+\]|[^\s.:/?#@\[\]]+(?:\.[^\s.:/?#@\[\]]+)*\.?)"
_URL = {
    "type": "string",
    "pattern": rf"^[Aa][Mm][Qq][Pp][Ss]?://(?:[^/?#\s]*@)?{_HOST}(?::[0-9]{{1,5}})?(?:/[^/?#\s]*)?(?:\?\S*)?$",
}
_TYPES = {int: "integer", float: "number", str: "string", bool: "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRow:
    """One key for people; ``default`` is written as in YAML, ``allowed`` and ``unit`` are "" where there is none."""

    key: str
    type: str
    default: str
    unit: str
    allowed: str
    takes: str
    meaning: str


def schema_rows() -> list[SchemaRow]:
    """Every key with its type, default, unit, range, meaning and what a change takes; topics as ``topics.NAME``."""
    rows = []
    for key, hint, entry in valid_keys():
        if dataclasses.is_dataclass(hint):
            continue
        declared = knob(entry)
        row = {"unit": declared.unit, "allowed": declared.allowed, "takes": declared.takes, "meaning": declared.meaning}
        rows.append(SchemaRow(key=key, type=_type_name(hint), default=_default_text(entry), **row))
    return rows


def _type_name(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return f"{get_args(hint)[0].__name__} or null"
    if hint is Any:
        return "str or list"
    kind = get_origin(hint)
    return "mapping" if kind is dict else "list" if kind is list else str(hint.__name__)


def _default_text(entry: dataclasses.Field[Any]) -> str:
    if entry.default_factory is not dataclasses.MISSING:
        return json.dumps(entry.default_factory())
    if entry.default is dataclasses.MISSING:
        return "required"
    return entry.default if isinstance(entry.default, str) else json.dumps(entry.default)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the YAML file, for editors. Wherever a value is, a text with ``${`` may be.

    Stricter than the checks in one point: numbers in quotes, which the environment makes necessary, are not offered.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hermes_ray configuration",
        **_section(Config),
        "$defs": {"reference": REFERENCE, "topic": _section(TopicConfig)},
    }


def _section(section: type) -> dict[str, Any]:
    hints = get_type_hints(section)
    fields = dataclasses.fields(section)
    required = [entry.name for entry in fields if _is_required(entry)]
    return {
        "type": "object",
        "properties": {
            name: _property(hints[entry.name], entry)
            for entry in fields
            for name in filter(None, (entry.name, knob(entry).alias))
        },
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _is_required(entry: dataclasses.Field[Any]) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def _property(hint: Any, entry: dataclasses.Field[Any]) -> dict[str, Any]:
    declared = knob(entry)
    described: dict[str, Any] = {"description": declared.meaning}
    if not dataclasses.is_dataclass(hint) and get_args(hint)[1:] != (TopicConfig,):
        allowed = (
            f" Allowed: {declared.allowed}{f' ({declared.unit})' if declared.unit else ''}." if declared.allowed else ""
        )
        described["description"] += f"{allowed} A change is {declared.takes}."
        if entry.default_factory is not dataclasses.MISSING:
            described["default"] = entry.default_factory()
        elif not _is_required(entry):
            described["default"] = entry.default
    return {**described, "anyOf": [*_alternatives(hint, declared), _TO_REFERENCE]}


def _alternatives(hint: Any, declared: Knob) -> list[dict[str, Any]]:
    if isinstance(hint, UnionType):
        return [*_alternatives(get_args(hint)[0], declared), {"type": "null"}]
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return [_section(hint)]
    if hint is Any:
        return [_URL, {"type": "array", "items": {"anyOf": [_URL, _TO_REFERENCE]}, "minItems": 1}]
    if get_origin(hint) is dict:
        return [_mapping(get_args(hint)[1], declared)]
    if get_origin(hint) is list:
        return [{"type": "array", "items": {"anyOf": [_section(get_args(hint)[0]), _TO_REFERENCE]}}]
    schema = dict(declared.schema)
    written = {"type": "string", "pattern": schema.pop("pattern")} if declared.parse is not None else None
    return [{"type": _TYPES[hint], **schema}, *([written] if written else [])]


def _mapping(hint: Any, declared: Knob) -> dict[str, Any]:
    if hint is TopicConfig:
        topic = {"anyOf": [{"$ref": "#/$defs/topic"}, _TO_REFERENCE]}
        return {"type": "object", "patternProperties": {f"^{NAME}$": topic}, "additionalProperties": False}
    if hint is Any:
        return {"type": "object", "propertyNames": {"pattern": r"^[^\W\d]\w*$"}}
    if hint == ArgumentValue:
        return _arguments(declared)
    amount = {"anyOf": [{"type": _TYPES[hint], **declared.schema}, _TO_REFERENCE]}
    return {"type": "object", "propertyNames": {"not": {"enum": ["", *RAY_NAMES]}}, "additionalProperties": amount}


def _arguments(declared: Knob) -> dict[str, Any]:
    """Arguments of a queue or a binding: those that are known as they are, others plain values."""
    schema = dict(declared.schema)
    known = {name: {"anyOf": [argument, _TO_REFERENCE]} for name, argument in schema.pop("properties", {}).items()}
    plain = {"type": ["string", "integer", "boolean"]}
    return {"type": "object", "propertyNames": {"minLength": 1}, **schema, "properties": known} | {
        "additionalProperties": plain
    }
