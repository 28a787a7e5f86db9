"""What deployments, topics and queues may be called, and how long that may be."""

from __future__ import annotations

import re

__all__ = ["DEPLOYMENT_NAME", "MAX_DEPLOYMENT_CHARACTERS", "MAX_QUEUE_BYTES", "NAME", "NAME_WORDS"]
__all__ += ["can_be_queue", "is_queue_name"]

_CHARACTER = r"[A-Za-z0-9_.-]"
NAME = f"{_CHARACTER}+"
NAME_WORDS = "letters, digits, '_', '.' and '-'"

# The checkpoint's files bear it, and the name of a file has 255 bytes; the longest is NAME.state.unreadable-TIME.
MAX_DEPLOYMENT_CHARACTERS = 200
DEPLOYMENT_NAME = f"{_CHARACTER}{{1,{MAX_DEPLOYMENT_CHARACTERS}}}"

_MAX_SHORT_BYTES = 255  # of what AMQP calls a short string
# The wait queues of a queue bear its name and their delay in milliseconds, up to a day.
MAX_QUEUE_BYTES = _MAX_SHORT_BYTES - len(".wait.99999999")


def is_queue_name(name: str) -> bool:
    """Whether a topic's queue may be called so: ``amq.`` is the broker's own."""
    return can_be_queue(name) and not name.startswith("amq.") and len(name.encode()) <= MAX_QUEUE_BYTES


def can_be_queue(name: str) -> bool:
    """Whether any queue may be called so: of line ends the broker makes nothing, and answers about another queue."""
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name):
        return False
    return 1 <= len(name.encode()) <= _MAX_SHORT_BYTES
