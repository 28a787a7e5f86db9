"""Secrets: recognising them in keys and URLs, hiding them from people, and keeping them off command lines."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["MASK", "looks_secret", "mask_url", "masked_tree", "public_secrets", "without_secrets"]

MASK = "***"

# A password may hold '/' or '@' that should have been escaped, so it reaches to the last '@'; digits that end like a
# port are a port: 'http://api:8080/users/@me' holds no password.
_USERINFO = re.compile(r"(?P<before>://[^\s/?#:]*:)(?!\d{0,5}(?:[/?#,\s]|$))(?P<password>\S*)(?P<after>@)")
_ASSIGNED = re.compile(r"(?i)(?P<before>(?:pass|passw(?:or)?d|pwd|secret|token|api_?key)=)(?P<password>[^\s&;]+)")

_SECRET_KEY = re.compile(
    r"password|passwd|passphrase|secret|credential"
    r"|(?:^|_)(?:pass|pwd|authorization)$|token$|(?:api|access|private|signing|encryption|account)_?key$"
)
_POINTS_ELSEWHERE = re.compile(r"_(?:file|path|dir|name|env|id)$")


def mask_url(url: str) -> str:
    """``url``, or any text with URLs in it, without passwords: ``amqp://me:pw@h/`` becomes ``amqp://me:***@h/``.

    Query parameters such as ``password=`` are masked too; a URL without scheme loses everything before its last ``@``.
    """
    if "@" in url and "://" not in url:
        url = f"{MASK}@{url.rpartition('@')[2]}"
    hide = rf"\g<before>{MASK}"
    return _ASSIGNED.sub(hide, _USERINFO.sub(rf"{hide}\g<after>", url))


def looks_secret(key: str) -> bool:
    """Whether an option of this name holds a secret: ``db_password``, ``apiKey`` do; ``password_file`` does not."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    return _SECRET_KEY.search(name) is not None and _POINTS_ELSEWHERE.search(name) is None


def masked_tree(value: Any, source: Any, *, options: bool = False, secret: bool = False) -> Any:
    """A copy of the plain tree ``value`` without secrets, made of what YAML can write.

    ``source`` is the same tree before its ``${...}`` were resolved. Below a key ``options`` everything that came from
    one is hidden, and so is every value under a key that looks secret; passwords in URLs are hidden everywhere.
    """
    interpolated = isinstance(source, str) and "${" in source
    if isinstance(value, Mapping):
        return {
            _plain(key): masked_tree(
                item,
                source.get(key) if isinstance(source, Mapping) else source,
                options=options or key == "options",
                secret=secret or (options and isinstance(key, str) and looks_secret(key)),
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        sources = source if isinstance(source, list | tuple) and len(source) == len(value) else [source] * len(value)
        return [masked_tree(v, s, options=options, secret=secret) for v, s in zip(value, sources, strict=True)]
    if value is not None and (secret or (options and interpolated)):
        return MASK
    return mask_url(value) if isinstance(value, str) else _plain(value)


def without_secrets(text: str, options: Mapping[str, Any]) -> str:
    """``text`` without the secrets among ``options`` and without passwords of URLs, as whole or in pieces.

    A driver that cannot parse ``postgres//app:pw@db`` repeats it in a form that is no URL: of an option that is one,
    the password is hidden wherever it stands.
    """
    for secret in sorted(_secrets(options, secret=False), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return mask_url(text) if "://" in text else text


def _secrets(value: Any, *, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets(item, secret=secret or looks_secret(str(key)))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item, secret=secret)
    elif secret and value not in (None, "", True, False):
        yield str(value)
    elif isinstance(value, str):
        passwords = [match["password"] for pattern in (_USERINFO, _ASSIGNED) for match in pattern.finditer(value)]
        yield from filter(None, passwords)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path | bytes) else value


def public_secrets(override: Mapping[Any, Any]) -> Iterator[str]:
    """The dotted keys in a command line's ``override`` (``${...}`` unresolved) that carry a password in the clear."""
    yield from _public(override, (), secret=False)


def _public(value: Any, path: tuple[str, ...], *, secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        private = "options" in path or "broker" in path[:1]
        for key, item in value.items():
            # A key can hide a URL as well: {"amqp://u:p@h": ...} is one slip of the quotes away.
            if isinstance(key, str) and _holds_password(key):
                yield ".".join(path)
            yield from _public(item, (*path, str(key)), secret=secret or (private and looks_secret(str(key))))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _public(item, path, secret=secret)
    elif isinstance(value, str):
        literal = _literal(value)
        if (secret and literal.strip()) or _holds_password(literal):
            yield ".".join(path)
    elif secret and value is not None and not isinstance(value, bool):
        yield ".".join(path)


_INNERMOST = re.compile(r"\$\{([^${}]*)\}")


def _literal(text: str) -> str:
    """What of ``text`` is readable without resolving it: ``a:${oc.env:X}`` is ``a:``, ``${oc.env:X,pw}`` is ``pw``."""

    def readable(match: re.Match[str]) -> str:
        resolver, _, arguments = match[1].partition(":")
        if resolver.strip() == "oc.env":
            arguments = arguments.partition(",")[2].strip()
        return "" if arguments == "null" else arguments.strip("'\"")

    count = 1
    while count:
        text, count = _INNERMOST.subn(readable, text)
    return text


def _holds_password(text: str) -> bool:
    found = [match for pattern in (_USERINFO, _ASSIGNED) for match in pattern.finditer(text)]
    return any(match["password"] for match in found) and not _is_local_guest(text)


def _is_local_guest(url: str) -> bool:
    """The account every fresh broker has, which it admits from the same machine only: no secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        guest = (parts.username, parts.password) == ("guest", "guest") and not _ASSIGNED.search(url)
        return guest and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
