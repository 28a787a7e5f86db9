"""The passwords of the URLs in any text, and those before a host without one."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

__all__ = ["is_url", "url_passwords"]

_SCHEME = re.compile(r"(?:^|(?<=[\s,;'\"`\[({<=|]))[A-Za-z][A-Za-z0-9+.:-]*://")
_ONE_URL = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.:-]*://(?![^@]*:\s)")
_NO_SCHEME = re.compile(
    r"(?<![^\s:@/'\"])[^\s:@/'\"]{1,128}(?<!mailto):(?!\*{3}@)[^\s@]{1,256}+(?:@[^\s@,;'\"/:]{1,256})*(?=@(?!sha\d))"
)
_ATS_OF_LINE = re.compile(r"@(?:[^\n@]*\n?@)*")  # a password from a file may end with the end of its line
_PATH_BEHIND_PORT = re.compile(r"\d{1,5}/[^\s:@]+")
_WORDS_BEHIND_PORT = re.compile(r"\d{1,5}:\s")
_HOST_AND_PORT = re.compile(r"[^\s/?#@:]*:\d{1,5}(?!\w)")
_PORT = re.compile(r"\d{1,5}(?:[^\w@:]|$)|[/?#\s,;]|$")


def is_url(text: str) -> bool:
    """Whether ``text``, the value of an option, is one URL and no sentence: ``https://my user:pw@h`` is one."""
    return _ONE_URL.match(text) is not None


def url_passwords(text: str, *, alone: bool = False) -> Iterator[tuple[int, int]]:
    """Where they stand in ``text`` as (start, end), none overlapping another.

    So do names and passwords without a URL, ``me:pw@h``, before the first one and behind each. A URL that
    stands ``alone`` has no end before its last ``@``.
    """
    starts = list(_SCHEME.finditer(text)) or list(re.finditer("://", text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    ats = [match.start() for match in re.finditer("@", text)]
    yield from (match.span() for match in _NO_SCHEME.finditer(text, 0, starts[0].start() if starts else len(text)))
    done = 0
    for number, scheme in enumerate(starts):
        span = _password(text, scheme.end(), number, ends, ats, alone=alone) if scheme.end() >= done else None
        if span is not None:
            done = span[1]
            yield span
        port = _HOST_AND_PORT.match(text, scheme.end())  # an @ in the path behind it is no password's
        behind = max(port.end() if port else scheme.end(), done)
        yield from (match.span() for match in _NO_SCHEME.finditer(text, behind, ends[number]))


def _password(
    text: str, start: int, number: int, ends: Sequence[int], ats: Sequence[int], *, alone: bool
) -> tuple[int, int] | None:
    """Where the password of URL ``number`` is, which comes after its scheme at ``start`` and ends by that of ``ends``.

    One that has no end there ends with a later URL, because a password may hold ``://``: of ``amqp://me:1 x://pw@h``
    that is ``1 x://pw``. A user's name with a blank or a slash is none: then all before the ``@`` may be the password.
    So may a name without a password: an empty one follows it, as some write a token, or it stands in a later URL,
    which may be the rest of a password. But no name has lines, nor has what comes after a strange one or begins as a
    port: that URL was over, and what follows, such as the fields that are wrong in a body with an address, is told.
    Nor is a port with words behind it, or the path of a page of the web: ``https://h/a: got 404 for bob@example.com``,
    but for a URL that stands ``alone``.
    """
    ats_of_line = _ATS_OF_LINE.search(text, start, ends[number])
    at = ats_of_line.end() - 1 if ats_of_line else -1
    user, colon, password = text[start : at if at >= 0 else ends[number]].partition(":")
    strange = re.search(r"[\s/?#\[]", user) is not None
    first = start + len(user) + 1
    if "\n" in user.strip() or ("\n" in password.strip() and (strange or _PORT.match(password))):
        return None
    is_of_web = not alone and text.endswith(("http://", "https://"), 0, start)
    if _WORDS_BEHIND_PORT.match(password) or (is_of_web and (strange or _PATH_BEHIND_PORT.fullmatch(password))):
        return None
    if at >= 0 and not password and (colon or number):
        return start, at
    if not colon:
        return None
    if at < 0:
        at = _last_of_next_url(first, ends, ats)
    if at < 0:
        return None if strange or _PORT.match(text, first) else (first, len(text))
    return (start if strange else first), at


def _last_of_next_url(first: int, ends: Sequence[int], ats: Sequence[int]) -> int:
    """The last of ``ats`` in the next URL that has one from ``first`` on, else -1, without a step for each URL."""
    next_at = bisect_left(ats, first)
    end = ends[bisect_right(ends, ats[next_at])] if next_at < len(ats) else 0  # the text's is after all of them
    return ats[bisect_left(ats, end) - 1] if end else -1
