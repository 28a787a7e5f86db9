"""What the broker tells of a queue that is there in another form than declared, as far as its answer has room."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Inequivalence", "inequivalence", "plain_value"]


@dataclass(frozen=True, slots=True)
class Inequivalence:
    """What a 406 says of a queue: its ``argument`` is ``found``, not as ``wanted``; "none" where there is none.

    All but the argument is None where the broker's answer had no room for what was found.
    """

    argument: str
    wanted: str | None = None
    found: str | None = None
    found_as_told: str | None = None

    @property
    def is_absent(self) -> bool:
        """Whether the queue has no such argument, rather than one that is the text none."""
        return self.found_as_told == "none"


_DIFFERING = re.compile(r"(?:PRECONDITION_FAILED - )?inequivalent arg '(?P<arg>.+?)'(?: for queue '|[^']*$)", re.DOTALL)
_ANY = r"none|'.*?'|the value '.*?' of type '[^']*'"
_CUT = "..."  # ends an answer over 255 bytes; a whole one ends with a value
# All of these queues are declared with the same, so that it differs tells what it is.
_OPPOSITE = {"durable": ("true", "false"), "auto_delete": ("false", "true"), "exclusive": ("false", "true")}
_VALUE = re.compile(r"the value '(?P<typed>.*)' of type '[^']*'|'(?P<plain>.*)'", re.DOTALL)


def inequivalence(text: str, *, queue: str, sent: Mapping[str, str | int]) -> Inequivalence | None:
    """What a 406 to a declare of ``queue`` with the arguments ``sent`` means, None if it says something else.

    Its text: ``PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but
    current is 'classic'``; where one side has none the other is ``the value 'quorum' of type 'longstr'``. Names and
    values are not escaped and may be any words, such as these: so it is read by what we know that it repeats. One
    beyond 255 bytes, such as of a long name, is cut: no word is made of what is left of one.
    """
    differing = _DIFFERING.match(text)
    if differing is None:
        return None
    argument = differing["arg"]
    if argument in _OPPOSITE:
        wanted, found = _OPPOSITE[argument]
        return Inequivalence(argument, wanted, found, f"'{found}'")
    if text.endswith(_CUT):
        return Inequivalence(argument)
    rest = text[differing.end() :].removeprefix(f"{queue}' in vhost '")
    for form in (_form(sent.get(argument)), _ANY):  # the broker might repeat it in other words
        if match := re.search(f"': received (?P<wanted>{form}) but current is (?P<found>.*)", rest, re.DOTALL):
            return Inequivalence(argument, plain_value(match["wanted"]), plain_value(match["found"]), match["found"])
    return Inequivalence(argument)


def _form(sent: str | int | None) -> str:
    """How the broker repeats an argument that we sent; None where we sent none."""
    if sent is None:
        return "none"
    value = re.escape(str(sent).lower() if isinstance(sent, bool) else str(sent))
    return f"'{value}'|the value '{value}' of type '[^']*'"


def plain_value(told: str) -> str:
    """The value alone: ``the value '5' of type 'signedint'`` is ``5``, and so is ``'5'``."""
    match = _VALUE.fullmatch(told)
    if match is None:
        return told
    return match["plain"] if match["typed"] is None else match["typed"]
