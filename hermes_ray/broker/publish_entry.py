"""One publish, from when it is asked for to its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from hermes_ray.broker.outgoing import Outgoing

__all__ = ["Answer", "Entry", "OnAnswer"]

OnAnswer = Callable[["Answer", str], None]


class Answer(StrEnum):
    """What the broker said to one publish."""

    CONFIRMED = "confirmed"
    RETURNED = "returned"  # no queue of that name
    NACKED = "nacked"  # refused, e.g. a full queue with reject-publish
    REFUSED = "refused"  # by what the message itself is: it closes the channel, or would, each time it is sent


@dataclass(slots=True)
class Entry:
    """One publish, for as long as somebody waits for its answer."""

    message: Outgoing
    on_answer: OnAnswer
    is_wanted: Callable[[], bool]
    is_suspect: bool = False
    is_trial: bool = False  # whether its queue answers: it goes alone, as an answer may come behind another queue's
    is_forgotten: bool = False
    sent_s: float = 0.0
