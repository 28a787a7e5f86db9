"""Why a connection failed, in words."""

from __future__ import annotations

__all__ = ["reason_of"]


def reason_of(error: BaseException) -> str:
    """The innermost cause; pika wraps a refused socket three deep."""
    causes = (getattr(error, "exception", None), *(getattr(error, "exceptions", None) or ())[-1:], *error.args[:1])
    for inner in causes:
        if isinstance(inner, BaseException):
            return reason_of(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(part) for part in error.args) or type(error).__name__
