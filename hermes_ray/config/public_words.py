"""Which words of a command line carry a password: others can read command lines, so such a word is refused."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from hermes_ray.config.beside_names import with_named
from hermes_ray.config.secret_names import looks_secret, names_code
from hermes_ray.config.secrets import secret_spans

__all__ = ["public_secrets"]


def public_secrets(override: Mapping[Any, Any]) -> Iterator[str]:
    """The dotted keys in a command line's ``override`` (``${...}`` unresolved) that carry a password in the clear."""
    yield from _public(override, (), secret=False)


def _public(value: Any, path: tuple[str, ...], *, secret: bool) -> Iterator[str]:
    private = "options" in path or "broker" in path[:1]
    if isinstance(value, Mapping):
        for key, item, is_named in with_named(value):
            # A user who misplaces a quote makes a URL the key, {"amqp://u:p@h": ...}, password and all.
            if isinstance(key, str) and _holds_password(key):
                yield ".".join(path)
            shown = _literal(item) if isinstance(item, str) else item
            looks = private and (is_named or looks_secret(str(key), shown))
            yield from _public(item, (*path, str(key)), secret=secret or looks)
    elif isinstance(value, list | tuple):
        for _, item, is_named in with_named(value):
            yield from _public(item, path, secret=secret or (private and is_named))
    elif isinstance(value, str) and not ("options" not in path and names_code(path[-1], value)):
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


# Digits that end like a port are a port: 'http://api:8080/users/@me' holds no password.
_PORT = re.compile(r"\d{0,5}(?:[/?#,\s]|$)")


_NO_SCHEME = re.compile(r"(?!mailto:)[^\s:@/]+:[^\s:@]+@")


def _holds_password(text: str) -> bool:
    text = text.replace(":@", ":0@")  # where ${...} was the password, the name before it is no secret
    spans = secret_spans(text)
    if "://" not in text and not _NO_SCHEME.match(text):
        spans = [span for span in spans if not text.startswith("@", span[1])]  # ops@example.com
    found = [text[start:end] for start, end in spans]
    return any(part.strip("'\"") and not _PORT.match(part) for part in found) and not _is_local_guest(text)


def _is_local_guest(url: str) -> bool:
    """The account every fresh RabbitMQ has, and admits from the same machine only: shown, since it is no secret."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        guest = (parts.username, parts.password) == ("guest", "guest") and len(secret_spans(url)) == 1
        return guest and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
