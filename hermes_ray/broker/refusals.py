"""What the broker's refusals are about, and names over which it breaks."""

from __future__ import annotations

import base64

__all__ = ["is_about", "is_about_channels", "may_break"]

_TO_A_CONNECTION = "amq.rabbitmq.reply-to."
_EXTERNAL_FORM, _PID, _NEW_PID = 131, 103, 88
_ATOMS = {119: 1, 115: 1, 118: 2, 100: 2}  # the bytes of their length


def is_about(reason: str, queue: str) -> bool:
    """Whether the broker refuses something about ``queue``; its text ends with dots after 255 bytes, in a name too."""
    if f"queue '{queue}'" in reason:
        return True
    _, found, rest = reason.partition("queue '")
    name, is_cut, _ = rest.rpartition("...")
    return bool(found and is_cut) and queue.startswith(name.rstrip("\N{REPLACEMENT CHARACTER}"))


def is_about_channels(reason: str) -> bool:
    """Whether the broker has ended a connection over one channel more than this user may have."""
    return "number of channels" in reason


def may_break(queue: str) -> bool:
    """Whether RabbitMQ may end the connection over a publish to ``queue``: a reply to a connection, of another form.

    After the prefix comes base64 of Erlang's external form of a pid (tag, atom, 9 or 12 bytes), a dot, and a key.
    """
    if not queue.startswith(_TO_A_CONNECTION):
        return False
    process = queue.removeprefix(_TO_A_CONNECTION).partition(".")[0]
    try:
        raw = base64.b64decode(process + "=" * (-len(process) % 4), validate=True)
    except ValueError:
        return True
    if len(raw) < 5 or raw[0] != _EXTERNAL_FORM or raw[1] not in (_PID, _NEW_PID) or raw[2] not in _ATOMS:
        return True
    size = _ATOMS[raw[2]]
    end = 3 + size + int.from_bytes(raw[3 : 3 + size], "big")
    return len(raw) != end + (9 if raw[1] == _PID else 12)
