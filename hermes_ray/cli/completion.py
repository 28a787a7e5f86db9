"""What a shell offers behind ``hermes COMMAND``, and ``hermes completion``, the script that makes it ask.

Imports of the configuration are late: ``hermes`` itself starts without them.
"""

from __future__ import annotations

import contextlib
import glob
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from hermes_ray.errors import UserMistake

__all__ = ["SHELLS", "Words", "completion"]

SHELLS = ("bash", "zsh", "fish")
SWITCHES = ("detach", "roll")
FILES = {"config": (".yaml", ".yml"), "trace": (".csv",)}
_TYPED_TOPIC = re.compile(r"topics\.([^.\[\]=]+)\.")

# bash would put a space after the "=" or "/" that more is to follow.
_BASH_END = "    return 0"
_BASH_NO_SPACE = "    [[ ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of a command: a topic, if ``topic`` is how its usage writes one, and ``key=value`` words.

    ``own`` are the keys of the command itself, beside those of the configuration; ``keys`` is how usage writes all of
    them. A topic that is no longer configured cannot be offered.
    """

    topic: str = ""
    is_topic_configured: bool = True
    own: tuple[str, ...] = ("config",)
    keys: str = "[config=FILE] [KEY=VALUE]..."

    @property
    def usage(self) -> str:
        """What stands behind the command in its usage: ``TOPIC [config=FILE] [KEY=VALUE]...``."""
        return f"{self.topic} {self.keys}".lstrip()

    def offer(self, context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """What may stand where ``incomplete`` is begun."""
        before = _whole(context.params.get("words") or ())
        if before and before[-1].endswith("=") and "=" not in incomplete:  # bash: "config=my" is config, =, my
            return list(_values(before[-1].removesuffix("="), "", incomplete, before))
        if "=" in incomplete:
            key, _, value = incomplete.partition("=")
            return list(_values(key, f"{key}=", value, before))
        if before and before[-1] in FILES and not incomplete:  # bash, with the cursor right behind the "="
            return list(_values(before[-1], "", "", before))
        return [item for item in self._begun(before, incomplete) if item.value.startswith(incomplete)]

    def _begun(self, before: Sequence[str], incomplete: str) -> Iterator[CompletionItem[str]]:
        topics = _topics(before)
        if self.topic and self.is_topic_configured and all("=" in word for word in before):
            for topic in topics:
                yield CompletionItem(topic, help="a topic of the configuration")
        for word in self.own:
            yield CompletionItem(f"{word}=", help="a word of this command")
        if incomplete:  # else the shell would list 20 keys, and 30 more for each topic
            yield from _keys(topics + _TYPED_TOPIC.findall(incomplete))


def completion(root: click.Group, shell: str) -> int:
    """Print the script that makes ``shell`` complete ``hermes``."""
    kind = get_completion_class(shell)
    if kind is None:
        raise UserMistake(f"there is no completion for {shell}: name one of {', '.join(SHELLS)}")
    script = kind(root, {}, "hermes", "_HERMES_COMPLETE").source()
    click.echo(script.replace(_BASH_END, _BASH_NO_SPACE + _BASH_END) if shell == "bash" else script, nl=False)
    return 0


def _whole(words: Sequence[str]) -> list[str]:
    """The words as typed: bash takes ``config=my.yaml`` for three."""
    return re.sub(r" = ?", "=", " ".join(words)).split(" ") if words else []


def _keys(topics: Sequence[str]) -> Iterator[CompletionItem[str]]:
    from hermes_ray.config.keys import valid_keys
    from hermes_ray.config.sentences import dotted
    from hermes_ray.config.settings import TopicConfig, knob

    everywhere = [entry for entry in valid_keys() if not entry[0].startswith("topics")]
    of_topics = [entry for topic in dict.fromkeys(topics) for entry in valid_keys(TopicConfig, dotted("topics", topic))]
    for key, hint, entry in (*everywhere, *of_topics):
        if not is_dataclass(hint):
            yield CompletionItem(f"{key}=", help=knob(entry).meaning)


def _values(key: str, prefix: str, value: str, before: Sequence[str]) -> Iterator[CompletionItem[str]]:
    """Items that continue ``value`` of ``key``; each is written behind ``prefix``."""
    values: Collection[str] = ()
    if key in FILES:
        values = _paths(value, FILES[key])
    elif key == "topic":
        values = _topics(before)
    elif key in SWITCHES:
        values = ("true", "false")
    for item in values:
        if item.startswith(value):
            yield CompletionItem(prefix + item)


def _paths(begun: str, endings: tuple[str, ...]) -> list[str]:
    found = sorted(glob.glob(f"{glob.escape(begun)}*"))
    return [
        f"{path}/" if Path(path).is_dir() else path for path in found if path.endswith(endings) or Path(path).is_dir()
    ]


def _topics(before: Sequence[str]) -> list[str]:
    """The topics of the file that ``config=`` names; none if it cannot be read."""
    from hermes_ray.config.loading import load

    paths = [word.removeprefix("config=") for word in before if word.startswith("config=")]
    with contextlib.suppress(UserMistake):
        return list(load(paths[-1], need_topics=False).topics) if paths else []
    return []
