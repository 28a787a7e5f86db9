"""From the bytes of a body to what they stand for."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib

__all__ = ["text_of"]

_MOST_BYTES = 1 << 28  # of a body unpacked: 1 MB of zeros in gzip would be 1 GB, and take all the worker's neighbours

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)
_NO_CHARSETS = ("punycode", "idna", "unicode-escape", "raw-unicode-escape")  # Python's own, one of them quadratic
_PACKED = ("gzip", "x-gzip", "deflate")
_AS_IT_IS = ("", "identity", "binary", "8bit", "7bit", "none", "plain")
_BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"  # .NET writes one
_GZIP_HEAD, _MOST_PARTS = b"\x1f\x8b\x08", 1_000  # of no bytes each they take long and unpack to nothing


def text_of(body: bytes, encoding: str | None, content_type: str | None) -> bytes | str:
    """``body`` unpacked by its content encoding, as text where a charset is named, else as bytes.

    ``encoding``: ``gzip``, ``deflate``, several with commas in the order they were applied, or nothing; a charset,
    which some clients put there, is read as one. Raises ``ValueError``, ``LookupError`` or ``zlib.error`` for what
    cannot be read so.
    """
    charset = _CHARSET.search(content_type or "")
    name = charset[1] if charset else None
    for word in reversed([word.strip().lower() for word in (encoding or "").split(",")]):
        if word in _PACKED:
            body = _unpacked(body, word)
        elif word not in _AS_IT_IS:
            name = name or _known(word)
    return body if name is None else body.decode(_checked(name)).removeprefix(_BYTE_ORDER_MARK)


def _checked(name: str) -> str:
    """Raises ``LookupError`` for what is no charset of anybody's but Python's."""
    found = codecs.lookup(name)
    if found.name in _NO_CHARSETS or not getattr(found, "_is_text_encoding", True):
        raise LookupError(f"unknown encoding: {name}")
    return found.name


def _known(word: str) -> str:
    try:
        return _checked(word)
    except LookupError:
        raise ValueError(f"its content_encoding {word[:40]!r} is none of gzip and deflate") from None


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding != "deflate":
        return _gunzipped(body)
    try:
        return _inflated(body, zlib.MAX_WBITS)
    except zlib.error:
        return _inflated(body, -zlib.MAX_WBITS)  # as some clients write it, without the head that zlib has


def _gunzipped(body: bytes) -> bytes:
    if body.count(_GZIP_HEAD) > _MOST_PARTS:
        raise ValueError(f"it is gzip of more than {_MOST_PARTS} parts")
    try:
        whole = gzip.GzipFile(fileobj=io.BytesIO(body)).read(_MOST_BYTES + 1)
    except (EOFError, OSError) as error:
        raise ValueError(str(error)) from error
    return _bounded(whole)


def _inflated(body: bytes, window: int) -> bytes:
    unpack = zlib.decompressobj(window)
    whole = _bounded(unpack.decompress(body, _MOST_BYTES + 1))
    if not unpack.eof:
        raise ValueError("it is cut short")
    return whole


def _bounded(whole: bytes) -> bytes:
    if len(whole) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES} bytes")
    return whole
