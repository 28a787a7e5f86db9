"""The secrets among a handler's options: hidden in what is told of them, in whatever form it is told."""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from hermes_ray.config.beside_names import with_named
from hermes_ray.config.secret_names import looks_secret
from hermes_ray.config.secrets import MASK, Hidden, all_spans, mask_told

__all__ = ["OptionSecrets", "without_secrets"]

_A_LETTER, _OF_NO_USE = 2, 5  # characters: texts so short say nothing, and stand in every other word
_PIECE, _LONGEST_PIECE = 6, 100  # characters that a library leaves of a text it shortens
_CUT = re.compile(r"\.{3,}|…")
_MANY = 200  # forms; to look for each of 5,000 took 50 ms for each failure


class OptionSecrets:
    """The secrets among ``options`` (plain values), in all forms in which they may be told.

    To find those takes long where options are large: they are found once, here.
    """

    __slots__ = ("_backwards", "_ends", "_forms", "_forwards", "_starts")

    def __init__(self, options: Any) -> None:
        self._forms = sorted(_all_forms(options), key=len, reverse=True)
        self._starts, self._ends = {form[:_PIECE] for form in self._forms}, {form[-_PIECE:] for form in self._forms}
        self._forwards = sorted(self._forms)
        self._backwards = sorted(form[::-1] for form in self._forms)

    @property
    def longest(self) -> int:
        """How many characters one may have where it is told."""
        return len(self._forms[0]) if self._forms else 0

    def hidden_in(self, text: str) -> str:
        """``text`` without them and without passwords of URLs.

        A driver that cannot parse ``postgres//app:pw@db`` repeats it in a form that is no URL: of an option that is
        one, the password is hidden wherever it stands, as written and percent-encoded, decoded or quoted.
        """
        width = _A_LETTER + 1
        starts = {text[at : at + width] for at in range(len(text))} if len(self._forms) > _MANY else set()
        for secret in self._forms if not starts else [form for form in self._forms if form[:width] in starts]:
            text = text.replace(secret, MASK)
        return mask_told(self._without_pieces(text) if self._forms else text)

    def _without_pieces(self, text: str) -> str:
        """``text`` without what is left of a secret where a library has cut it: ``kT9vQ2mZ...YbHs3J``.

        A text may have thousands of cuts: where pieces may begin and end in it is looked for once.
        """
        parts, at = [], 0
        starts = ends = None
        for cut in _CUT.finditer(text):
            if starts is None or ends is None:
                pieces = [text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)]
                starts = [at for at, piece in enumerate(pieces) if piece in self._starts]
                ends = [at + _PIECE for at, piece in enumerate(pieces) if piece in self._ends]
            if cut.start() < at:
                continue
            start = max(at, self._start_of_piece(text, cut.start(), starts))
            parts.append(text[at:start] + (MASK if start < cut.start() else "") + cut[0])
            at = self._end_of_piece(text, cut.end(), ends)
            parts.append(MASK if at > cut.end() else "")
        return "".join(parts) + text[at:]

    def _start_of_piece(self, text: str, end: int, starts: Sequence[int]) -> int:
        near = starts[bisect_left(starts, end - _LONGEST_PIECE) : bisect_right(starts, end - _PIECE)]
        return next((start for start in near if _begins_one(text[start:end], self._forwards)), end)

    def _end_of_piece(self, text: str, start: int, ends: Sequence[int]) -> int:
        near = ends[bisect_left(ends, start + _PIECE) : bisect_right(ends, start + _LONGEST_PIECE)]
        return next((end for end in reversed(near) if _begins_one(text[start:end][::-1], self._backwards)), start)


def _begins_one(piece: str, ordered: Sequence[str]) -> bool:
    at = bisect_left(ordered, piece)
    return at < len(ordered) and ordered[at].startswith(piece)


def without_secrets(text: str, options: Any) -> str:
    """``text`` without the secrets among ``options``, for once: see ``OptionSecrets``."""
    return OptionSecrets(options).hidden_in(text)


def _all_forms(options: Any) -> set[str]:
    secrets = set(_secrets(options, secret=False))
    return {form for secret in secrets for form in _forms(secret) if len(form) > _A_LETTER}


def _forms(secret: str) -> set[str]:
    forms = {secret, secret.strip(), unquote(secret)}
    encoded = {
        encode(_bytes(form)) for form in forms for encode in (lambda raw: quote(raw, safe=""), quote, quote_plus)
    }
    forms |= encoded | {re.sub("%..", lambda escape: escape[0].lower(), form) for form in encoded}
    return {told for form in forms for told in _told(form) if told}


def _told(form: str) -> Iterator[str]:
    """``form``, and how it is quoted, also as part of a text that has both quotes."""
    yield from (form, repr(form)[1:-1], repr(f"'{form}\"")[3:-2], json.dumps(form)[1:-1])
    if not form.isascii():
        yield json.dumps(form, ensure_ascii=False)[1:-1]
        for raw in (_bytes(form), form.encode("latin-1") if max(form) <= "\xff" else b""):
            yield from (repr(raw)[2:-1], repr(b"'%b\"" % raw)[4:-2])


def _bytes(text: str) -> bytes:
    """As the environment had it, which may be no UTF-8."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _secrets(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item, is_named in with_named(value):
            yield from _secrets(key, secret=False)
            yield from _secrets(item, secret=secret or is_named or looks_secret(str(key), item))
    elif isinstance(value, list | tuple):
        for _, item, is_named in with_named(value):
            yield from _secrets(item, secret=secret or is_named)
    elif secret and value not in (None, "", True, False):
        yield str(value)
    elif isinstance(value, str):
        yield from _secrets_of_text(value)


def _secrets_of_text(value: str) -> Iterator[str]:
    if isinstance(value, Hidden) and len(value) > _OF_NO_USE:
        yield str(value)
    for start, end in all_spans(value):
        part = value[start:end]
        if "://" in value or not value[end:].startswith("@"):
            yield from (part, part.strip("'\""), part.strip("'\"{}"))  # ODBC quotes with braces
            if value.endswith("://", 0, start):  # a user's name that is none, ``me/corp``, is hidden with its password
                yield part.partition(":")[2]
        elif ":" in part:  # ops@example.com is an address, me:pw@host is not
            yield part.partition(":")[2]
