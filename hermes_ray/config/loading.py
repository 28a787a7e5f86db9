"""Reading the configuration: a YAML file, then ``key=value`` words over it, then ``${...}``, then the checks.

OmegaConf parses, merges and resolves plain values with all defaults filled in, so that ``${topics.a.workers.max}``
works for a default too; ``validation.build`` turns the result into the frozen dataclasses of ``settings``. (OmegaConf's
own conversion into them works, but its messages name no ranges or near keys, and it takes ``nan`` for a number.)
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    GrammarParseError,
    InterpolationKeyError,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
)

from hermes_ray.config.secrets import mask_url, masked_tree, public_secrets
from hermes_ray.config.settings import NAME, Config, TopicConfig, knob
from hermes_ray.config.validation import build, dotted, shown, unknown_key, valid_keys
from hermes_ray.errors import UserMistake

__all__ = [
    "COMMAND_WORDS",
    "Command",
    "SchemaRow",
    "load",
    "masked_yaml",
    "parse_command",
    "schema_rows",
    "split_words",
]

COMMAND_WORDS = ("config", "detach", "roll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line understood: the configuration, and the words that belong to the command only."""

    config: Config
    detach: bool = False
    roll: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaRow:
    """One key for people; ``default`` is written as in YAML, ``allowed`` and ``unit`` are "" where there is none."""

    key: str
    type: str
    default: str
    unit: str
    allowed: str
    meaning: str


def load(path: str | Path | None, dotlist: Sequence[str] = (), *, need_topics: bool = True) -> Config:
    """The configuration of a file (``None``: defaults alone) with ``key=value`` words over it.

    Keys are OmegaConf's: ``topics.crawl.workers.max=40``, ``topics[a.b].weight=2``. Raises ``UserMistake``, and nothing
    else, with one sentence that names the key, the value and what is allowed.
    """
    return build(_resolved(_read(path, dotlist)), need_topics=need_topics)


def parse_command(words: Sequence[str], *, need_topics: bool = True) -> Command:
    """What the words after a command mean: ``config=FILE detach=true topics.crawl.workers.max=40``."""
    own, dotlist = split_words(words, COMMAND_WORDS)
    if own.get("config") == "":
        raise UserMistake("config is empty: give the path of a YAML file, or leave the word out")
    config = load(own.get("config"), dotlist, need_topics=need_topics)
    return Command(config=config, detach=_switch(own, "detach"), roll=_switch(own, "roll"))


def split_words(words: Sequence[str], own: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The words of the command itself (those named in ``own``; the last of two wins), and the configuration's keys.

    Raises ``UserMistake`` for what is neither. ``["config=a.yaml", "drain_timeout_s=5"]`` with own ``{"config"}`` gives
    ``({"config": "a.yaml"}, ["drain_timeout_s=5"])``.
    """
    mine: dict[str, str] = {}
    rest: list[str] = []
    top = {entry.name for entry in dataclasses.fields(Config)}
    for word in words:
        key, found, value = word.partition("=")
        if not found:
            example = f"{word}=..." if word in own else "topics.NAME.workers.max=40"
            raise UserMistake(f"{shown(word)} is no key=value word: write it like {example}")
        if key in own:
            mine[key] = value
        elif (first := re.split(r"[.\[]", key, maxsplit=1)[0]) in top or not first:
            rest.append(word)
        else:
            raise unknown_key(Config, "", first, also=tuple(own))
    return mine, rest


def masked_yaml(path: str | Path | None, dotlist: Sequence[str] = ()) -> str:
    """The checked, resolved configuration as YAML without secrets: URL passwords and secret options are ``***``."""
    source = _read(path, dotlist)
    config = build(_resolved(source), need_topics=False)
    tree = masked_tree(dataclasses.asdict(config), source)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120)


def schema_rows() -> list[SchemaRow]:
    """Every key with its type, default, unit, range and meaning, from the dataclasses; topics as ``topics.NAME``."""
    rows = []
    for key, hint, entry in valid_keys():
        if dataclasses.is_dataclass(hint):
            continue
        declared = knob(entry)
        row = {"unit": declared.unit, "allowed": declared.allowed, "meaning": declared.meaning}
        rows.append(SchemaRow(key=key, type=_type_name(hint), default=_default_text(entry), **row))
    return rows


def _type_name(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return f"{get_args(hint)[0].__name__} or null"
    if hint is Any:
        return "str or list"
    return "mapping" if get_origin(hint) is dict else str(hint.__name__)


def _default_text(entry: dataclasses.Field[Any]) -> str:
    if entry.default_factory is not dataclasses.MISSING:
        return json.dumps(entry.default_factory())
    if entry.default is dataclasses.MISSING:
        return "required"
    return entry.default if isinstance(entry.default, str) else json.dumps(entry.default)


def _switch(own: Mapping[str, str], name: str) -> bool:
    text = own.get(name, "false")
    if text not in ("true", "false"):
        raise UserMistake(f"{name} is {shown(text)}: it must be true or false")
    return text == "true"


def _read(path: str | Path | None, dotlist: Sequence[str]) -> dict[str, Any]:
    """File, words and defaults as one plain tree, ``${...}`` unresolved."""
    parts = [OmegaConf.create() if path is None else _file(Path(path)), *map(_override, dotlist)]
    try:
        given = OmegaConf.to_container(OmegaConf.merge(*parts), resolve=False)
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(error, "the command line") from None
    return _with_defaults(given)


def _text(path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
    except RuntimeError:
        reason = "there is no such user"
    except ValueError:
        reason = "it is no UTF-8 text"
    raise UserMistake(f"config={shown(str(path))} cannot be read ({reason}): give the path of a YAML file")


def _file(path: Path) -> DictConfig:
    text = _text(path)
    name = str(path) if str(path).isprintable() else shown(str(path))
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise UserMistake(f"{name} is empty: write at least topics: {{NAME: {{handler: package.module:name}}}}")
        if not isinstance(root, yaml.MappingNode):
            raise UserMistake(f"{name} holds no mapping: write at least topics: {{NAME: {{handler: ...}}}}")
        loaded = OmegaConf.load(io.StringIO(text))
    except yaml.YAMLError as error:
        raise UserMistake(f"{name}{_place(error)}") from None
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(error, name) from None
    assert isinstance(loaded, DictConfig)
    return loaded


def _place(error: yaml.YAMLError) -> str:
    """Where and why a text is no YAML, without repeating the text, which may be secret."""
    mark = getattr(error, "problem_mark", None)
    problem = re.sub(r"\s+", " ", str(getattr(error, "problem", None) or "a character that YAML does not allow"))
    return f"{'' if mark is None else f', line {mark.line + 1}'} is not valid YAML: {mask_url(problem)}"


_KEY = re.compile(r"[^\s.\[\]]+(?:\.[^\s.\[\]]+|\[[^\[\]]+\])*")


def _override(word: str) -> DictConfig:
    key, found, _ = word.partition("=")
    if not found or not key.isprintable() or not _KEY.fullmatch(key):
        example = "topics.NAME.workers.max=40 or topics[NAME.WITH.DOTS].workers.max=40"
        raise UserMistake(f"{shown(key if found else word)} is no key of a key=value word: write it like {example}")
    try:
        override = OmegaConf.from_dotlist([word])
        tree = OmegaConf.to_container(override, resolve=False)
    except yaml.YAMLError:
        raise UserMistake(
            f"the value of {mask_url(key)} is not valid YAML: put it in quotes, {key}='\"...\"'"
        ) from None
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(error, f"the word {mask_url(key)}=...") from None
    assert isinstance(tree, dict)
    for secret in public_secrets(tree):
        raise UserMistake(
            f"{mask_url(secret)} holds a password, and command lines can be read by others: put it in an environment "
            f"variable and write {mask_url(key)}='${{oc.env:NAME}}'"
        )
    return override


def _defaults(section: type) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in dataclasses.fields(section):
        if entry.default is not dataclasses.MISSING:
            values[entry.name] = entry.default
        elif entry.default_factory is not dataclasses.MISSING:
            made = entry.default_factory()
            values[entry.name] = _defaults(type(made)) if dataclasses.is_dataclass(made) else made
    return values


def _with_defaults(given: Any) -> dict[str, Any]:
    tree: dict[str, Any] = _filled(_defaults(Config), given)
    if isinstance(tree["topics"], dict):
        for name, topic in tree["topics"].items():
            queue = {"queue": name} if re.fullmatch(NAME, str(name)) else {}
            tree["topics"][name] = _filled(_defaults(TopicConfig) | queue, topic)
    return tree


def _filled(defaults: Any, given: Any) -> Any:
    """``given`` with what it lacks of ``defaults``, section by section, in the order of the defaults."""
    if not isinstance(defaults, dict) or not isinstance(given, dict):
        return given
    return defaults | {key: _filled(defaults.get(key), value) for key, value in given.items()}


def _resolved(source: dict[str, Any]) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.create(source), resolve=True)
    except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
        raise _unreadable(error, "the configuration") from None


_ENVIRONMENT = re.compile(r"Environment variable '([^'\n]+)' not found")


def _unreadable(error: Exception, where: str) -> UserMistake:
    """One sentence for what OmegaConf refuses; never its own text, which repeats values."""
    full_key = getattr(error, "full_key", None)
    key = dotted("", str(full_key)).strip("[]") if full_key else where
    if variable := _ENVIRONMENT.search(str(error)):
        name = variable[1]
        return UserMistake(f"{key} needs the environment variable {name}: set it, or write ${{oc.env:{name},DEFAULT}}")
    if isinstance(error, InterpolationKeyError):
        target = re.search(r"Interpolation key '([^'\n]+)'", str(error))
        return UserMistake(f"{key} refers to {shown(target[1]) if target else 'a key'}, which does not exist")
    if isinstance(error, UnsupportedInterpolationType):
        return UserMistake(f"{key} uses an unknown kind of ${{...}}: write ${{oc.env:NAME}} or ${{another.key}}")
    if isinstance(error, GrammarParseError):
        return UserMistake(f"{key} holds a ${{...}} that cannot be read: check its braces and quotes")
    if isinstance(error, OmegaConfBaseException) and "nterpolation" in str(error):
        return UserMistake(f"{key} holds a ${{...}} that cannot be resolved: it must lead to a value, not to itself")
    return UserMistake(f"{key} cannot be read: it must be a mapping of text keys to plain values, lists and mappings")
