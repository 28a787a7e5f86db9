"""Is this an address a broker can have? Every answer says what is wrong without repeating any of the URL."""

from __future__ import annotations

import ast
import difflib
import ipaddress
import re
import warnings
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["QUERY", "is_host", "url_problem"]

NUMERIC_QUERY = {"blocked_connection_timeout", "channel_max", "connection_attempts", "frame_max", "heartbeat"}
NUMERIC_QUERY |= {"retry_delay", "socket_timeout", "stack_timeout"}
MAPPING_QUERY = {"client_properties", "ssl_options", "tcp_options"}
QUERY = NUMERIC_QUERY | MAPPING_QUERY | {"locale"}

MAX_HOST_CHARACTERS = 253
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")


def is_host(text: str) -> bool:
    """Whether ``text`` is an IP address or a host name that a resolver takes: ``a..b`` and labels over 63 are none."""
    if ":" in text:
        try:
            ipaddress.IPv6Address(unquote(text))
        except ValueError:
            return False
        return True
    try:
        encoded = text.encode("idna")
    except UnicodeError:
        return False
    return len(encoded) <= MAX_HOST_CHARACTERS and _HOST.fullmatch(text) is not None


def url_problem(url: str) -> str | None:
    """What keeps ``url`` from being an AMQP URL; None if nothing does."""
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "it holds spaces or control characters"
    scheme, colon, rest = url.partition(":")
    if not colon or scheme.lower() not in ("amqp", "amqps"):
        return "the scheme must be amqp or amqps"
    if not rest.startswith("//"):
        return "after the scheme comes ://"
    try:
        parts = urlsplit(url)
        problem = _place_problem(parts.hostname, parts.port)
    except ValueError:
        return "its host or port (1 to 65535) cannot be read"
    if problem is None and (parts.fragment or "/" in parts.path[1:]):
        problem = "the virtual host must not hold '/' or '#'"
    return problem or _query_problem(parts.query)


def _place_problem(host: str | None, port: int | None) -> str | None:
    if not host:
        return "the host is missing"
    if port == 0:
        return "the port must be 1 to 65535"
    return (
        None if is_host(host) else "the host is neither an IP address nor a name of letters, digits, '-', '_' and '.'"
    )


def _query_problem(query: str) -> str | None:
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in QUERY:
            near = difflib.get_close_matches(key, sorted(QUERY), n=1)
            hint = f"perhaps {near[0]} is meant" if near else f"known are {', '.join(sorted(QUERY))}"
            return f"it has an unknown URL parameter, {hint}"
        if key in NUMERIC_QUERY and not re.fullmatch(r"[0-9]{1,9}", value):
            return f"the URL parameter {key} must be a whole number"
        if key in MAPPING_QUERY and not _is_mapping(value):
            return f"the URL parameter {key} must be a mapping such as {{'name': 'value'}}, percent-encoded"
    return None


def _is_mapping(text: str) -> bool:
    """Whether pika, which evaluates it as a Python literal, gets a mapping of ``text``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a backslash, which they would quote
        try:
            return isinstance(ast.literal_eval(text), dict | None)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return False
