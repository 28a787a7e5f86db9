"""What can go wrong, and the exit code it means: 1 it failed, 2 the user's mistake."""

from __future__ import annotations

__all__ = ["HermesError", "OperationFailed", "PermanentError", "UserMistake"]


class HermesError(Exception):
    """Root of the errors a command prints as one sentence; never with a traceback."""

    exit_code = 1


class OperationFailed(HermesError):
    """Something outside the user's hands failed: a broker that is away, a handler that does not import."""


class UserMistake(HermesError):
    """The user asked for what cannot be: the sentence names the key, the value, the range and what to do."""

    exit_code = 2


class PermanentError(Exception):
    """Raise it in a handler when no retry can help: the message goes to the dead-letter queue at once."""
