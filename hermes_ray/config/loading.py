"""Reading the configuration: a YAML file, then ``key=value`` words over it, then ``${...}``, then the checks.

Everything is plain values, all defaults filled in, until ``validation.build`` turns it into the frozen dataclasses of
``settings``: so ``${topics.a.workers.max}`` works for a default too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes_ray.config.interpolation import resolve
from hermes_ray.config.keys import canonical, unknown_key
from hermes_ray.config.masked_tree import masked_tree
from hermes_ray.config.names import NAME
from hermes_ray.config.public_words import public_secrets
from hermes_ray.config.secret_names import looks_secret
from hermes_ray.config.secrets import mask_url
from hermes_ray.config.sentences import dotted_path, shortened, shown
from hermes_ray.config.settings import Config, TopicConfig
from hermes_ray.config.validation import Unquoted, build
from hermes_ray.config.yaml_text import NotDecimal, NotPlain, NotYaml, notation, parse_yaml, write_yaml
from hermes_ray.errors import UserMistake

__all__ = ["COMMAND_WORDS", "CommandLine", "load", "masked_command", "masked_yaml", "parse_command", "split_words"]

COMMAND_WORDS = ("config", "detach", "roll")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """A command line understood: the configuration, and the words that belong to the command only."""

    config: Config
    detach: bool = False
    roll: bool = False


def load(path: str | Path | None, dotlist: Sequence[str] = (), *, need_topics: bool = True) -> Config:
    """The configuration of a file (``None``: defaults alone) with ``key=value`` words over it.

    Keys are OmegaConf's: ``topics.crawl.workers.max=40``, ``topics[a.b].weight=2``. Raises ``UserMistake``, and nothing
    else, with one sentence that names the key, the value and what is allowed.
    """
    return _checked(_read(path, dotlist), dotlist, need_topics=need_topics)


def parse_command(words: Sequence[str], *, need_topics: bool = True) -> CommandLine:
    """What the words after a command mean: ``config=FILE detach=true topics.crawl.workers.max=40``."""
    own, dotlist = _own_words(words)
    config = load(own.get("config"), dotlist, need_topics=need_topics)
    return CommandLine(config=config, detach=_switch(own, "detach"), roll=_switch(own, "roll"))


def masked_command(words: Sequence[str]) -> str:
    """The configuration that the words after a command mean, as ``masked_yaml``."""
    own, dotlist = _own_words(words)
    shown_yaml = masked_yaml(own.get("config"), dotlist)
    for name in ("detach", "roll"):
        _switch(own, name)
    return shown_yaml


def masked_yaml(path: str | Path | None, dotlist: Sequence[str] = ()) -> str:
    """The checked, resolved configuration as YAML without secrets: URL passwords and secret options are ``***``."""
    source = _read(path, dotlist)
    tree = masked_tree(_checked(source, dotlist, need_topics=False), source)
    return write_yaml(tree)


def _checked(source: dict[str, Any], dotlist: Sequence[str], *, need_topics: bool) -> Config:
    try:
        return build(resolve(source), need_topics=need_topics)
    except Unquoted as mistake:
        if any(_path(word.partition("=")[0]) == mistake.path for word in dotlist):
            raise UserMistake(f"{mistake}{_for_the_shell(dotted_path(mistake.path))}") from None
        raise


def _for_the_shell(key: str) -> str:
    """How to write text in quotes where a shell takes one pair away."""
    return f", {key}='\"...\"'"


def _own_words(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    own, dotlist = split_words(words, COMMAND_WORDS)
    if own.get("config") == "":
        raise UserMistake("config is empty: give the path of a YAML file, or leave the word out")
    return own, dotlist


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
        elif (first := re.split(r"[.\[]", key, maxsplit=1)[0]) in top or not re.fullmatch(r"[\w-]+", first):
            rest.append(word)
        else:
            raise unknown_key(Config, "", first, also=tuple(own))
    return mine, rest


def _switch(own: Mapping[str, str], name: str) -> bool:
    text = own.get(name, "false")
    if text not in ("true", "false"):
        raise UserMistake(f"{name} is {shown(text)}: it must be true or false")
    return text == "true"


def _read(path: str | Path | None, dotlist: Sequence[str]) -> dict[str, Any]:
    """File, words and defaults as one plain tree, ``${...}`` unresolved."""
    given: Any = {} if path is None else canonical(_file(Path(path)))
    for word in dotlist:
        override = canonical(_override(word))  # whatever name it goes by, it is over that of the file
        try:
            given = _over(given, override)
        except _ReferenceInTheWay:
            from hermes_ray.config.grammar import merged

            given = merged(_with_defaults(given), override)
    return _with_defaults(given)


class _ReferenceInTheWay(Exception):
    """A mapping is to be put over a ``${...}``: over what that leads to."""


def _over(base: Any, given: Any) -> Any:
    """``given`` over ``base``, mapping by mapping."""
    if not isinstance(base, dict) or not isinstance(given, dict):
        return given
    both = dict(base)
    for key, value in given.items():
        before = both.get(key)
        if isinstance(value, dict) and isinstance(before, str) and "${" in before:
            raise _ReferenceInTheWay
        both[key] = _over(before, value)
    return both


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


def _file(path: Path) -> dict[str, Any]:
    name = str(path) if str(path).isprintable() else shown(str(path))
    try:
        tree = parse_yaml(_text(path))
    except NotYaml as error:
        line = "" if error.line is None else f", line {error.line}"
        raise UserMistake(f"{name}{line} is not valid YAML: {error.problem}") from None
    except NotPlain as error:
        raise UserMistake(_not_plain(error, (), name)) from None
    if tree is None:
        raise UserMistake(f"{name} is empty: write at least topics: {{NAME: {{handler: package.module:name}}}}")
    if not isinstance(tree, dict):
        raise UserMistake(f"{name} holds no mapping: write at least topics: {{NAME: {{handler: ...}}}}")
    return tree


def _not_plain(error: NotPlain, at: tuple[Any, ...], where: str) -> str:
    """The sentence for what YAML can hold and a configuration cannot; ``at`` is the path of the text itself."""
    path = (*at, *error.path)
    key = dotted_path(path) or where
    is_secret = "options" in path or path[:1] == ("broker",) or looks_secret(str(path[-1] if path else ""))
    if is_secret or not isinstance(error, NotDecimal):
        is_it = "has a key that is" if error.is_key else "is"
        return f"{key} {is_it} {error.what}: put text in quotes"
    what, instead = notation(error.text)
    is_it = "has the key" if error.is_key else "is"
    return f"{key} {is_it} {shortened(error.text)}, in YAML {what}: write {shortened(instead)}, or put text in quotes"


_KEY = re.compile(r"[^\s.\[\]]+(?:\.[^\s.\[\]]+|\[[^\[\]]+\])*")


def _path(key: str) -> tuple[str, ...]:
    """The keys from the root on that the ``key`` of a word stands for."""
    return tuple(quoted or plain for quoted, plain in re.findall(r"\[([^\[\]]+)\]|([^.\[\]]+)", key))


def _override(word: str) -> dict[str, Any]:
    """The tree that a ``key=value`` word stands for."""
    key, found, text = word.partition("=")
    path = _path(key)
    may_be_url = "://" in key or ("@" in word and not all(re.fullmatch(r"[\w.-]+", part) for part in path))
    if not found or not key.isprintable() or not _KEY.fullmatch(key) or may_be_url:
        example = "topics.NAME.workers.max=40 or topics[NAME.WITH.DOTS].workers.max=40"
        said = shown(word if "@" in word or "://" in word or not found else key)
        raise UserMistake(f"{said} is no key of a key=value word: write it like {example}")
    try:
        value = parse_yaml(text)
    except NotYaml:
        said = mask_url(key)
        raise UserMistake(f"the value of {said} is not valid YAML: put it in quotes{_for_the_shell(said)}") from None
    except NotPlain as error:
        is_whole = not error.path and not error.is_key
        raise UserMistake(
            f"{_not_plain(error, path, '')}{_for_the_shell(dotted_path(path)) if is_whole else ''}"
        ) from None
    for part in reversed(path):
        value = {part: value}
    for secret in public_secrets(value):
        raise UserMistake(
            f"{mask_url(secret)} holds a password, and command lines can be read by others: put it in an environment "
            f"variable and write {mask_url(secret)}='${{oc.env:NAME}}'"
        )
    assert isinstance(value, dict)
    return value


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
        defaults = _defaults(TopicConfig)
        topics = {}
        for name, topic in tree["topics"].items():
            queue = {"queue": name} if re.fullmatch(NAME, str(name)) else {}
            topics[name] = _filled(defaults | queue, topic)
        tree["topics"] = topics
    return tree


def _filled(defaults: Any, given: Any) -> Any:
    """``given`` with what it lacks of ``defaults``, section by section, in the order of the defaults."""
    if not isinstance(defaults, dict) or not isinstance(given, dict):
        return given
    return defaults | {key: _filled(defaults.get(key), value) for key, value in given.items()}
