"""What the broker tells of a queue that is there in another form than declared, as far as its answer has room."""

from __future__ import annotations

import re
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


_DIFFERING = re.compile(r"^(?:PRECONDITION_FAILED - )?inequivalent arg '(?P<arg>[^']+)'")
_INEQUIVALENT = re.compile(r".*' in vhost '.*?': received (?P<wanted>.*?) but current is (?P<found>.*)", re.DOTALL)
_WHOLE = re.compile(r"none|'.*'|the value '.*' of type '[^']*'", re.DOTALL)
_CUT, _CUT_BYTES = "...", 250  # what ends an answer over 255 bytes, and how many are left of one at least
# All of these queues are declared with the same, so that it differs tells what it is.
_OPPOSITE = {"durable": ("true", "false"), "auto_delete": ("false", "true"), "exclusive": ("false", "true")}
_TYPED = re.compile(r"^(?:the value )?'?(?P<value>.*?)'?(?: of type '[^']*')?$", re.DOTALL)


def inequivalence(text: str) -> Inequivalence | None:
    """What a 406 means, None if it says something else.

    Its text: ``PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but
    current is 'classic'``; where one side has none the other is ``the value 'quorum' of type 'longstr'``. One beyond
    255 bytes, such as of a long name, is cut: no word is made of what is left of one.
    """
    differing = _DIFFERING.match(text)
    if differing is None:
        return None
    argument = differing["arg"]
    if argument in _OPPOSITE:
        wanted, found = _OPPOSITE[argument]
        return Inequivalence(argument, wanted, found, f"'{found}'")
    is_cut = text.endswith(_CUT) and len(text.encode()) >= _CUT_BYTES
    match = _INEQUIVALENT.fullmatch(text.removesuffix(_CUT) if is_cut else text, differing.end())
    if match is None or (is_cut and not _WHOLE.fullmatch(match["found"])):
        return Inequivalence(argument)
    return Inequivalence(argument, plain_value(match["wanted"]), plain_value(match["found"]), match["found"])


def plain_value(text: str) -> str:
    """The value alone: ``the value '5' of type 'signedint'`` is ``5``."""
    match = _TYPED.match(text.strip())
    return match["value"] if match else text
