"""Is this an address a broker can have? Every answer says what is wrong without repeating any of the URL."""

from __future__ import annotations

import ast
import difflib
import ipaddress
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

__all__ = [
    "FILE",
    "FILE_WORDS",
    "QUERY",
    "TLS_QUERY",
    "is_file",
    "is_host",
    "is_utf8",
    "url_problem",
    "with_parameters",
]

LONGEST_S = 1_000_000
NUMERIC_QUERY = {  # the least and the most that pika and the protocol take
    "blocked_connection_timeout": (0, LONGEST_S),
    "channel_max": (1, 65_535),
    "connection_attempts": (1, 1_000),
    "frame_max": (4_096, 131_072),
    "heartbeat": (0, 65_535),
    "retry_delay": (0, LONGEST_S),
    "socket_timeout": (1, LONGEST_S),
    "stack_timeout": (1, LONGEST_S),
}
MAPPING_QUERY = {"client_properties", "ssl_options", "tcp_options"}
FILE_QUERY = {"cacertfile", "certfile", "keyfile"}
TLS_QUERY = {*FILE_QUERY, "password", "server_name_indication", "verify"}  # what RabbitMQ's own clients call them
QUERY = {*NUMERIC_QUERY, *MAPPING_QUERY, *TLS_QUERY, "locale"}

FILE = r"[/~][^\x00]*"
FILE_WORDS = "the absolute path of a file, or one from ~"

MAX_HOST_CHARACTERS = 253
MAX_SHORT_BYTES = 255  # of what AMQP calls a short string
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")


def is_host(text: str) -> bool:
    """Whether ``text`` is an IP address or a host name that a resolver takes: ``a..b`` and labels over 63 are none."""
    if ":" in text:
        if "%25" in text:  # how URLs write the % before a zone, which nobody who connects decodes
            return False
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            return False
        return True
    try:
        encoded = text.encode("idna")
    except UnicodeError:
        return False
    return len(encoded) <= MAX_HOST_CHARACTERS and _HOST.fullmatch(text) is not None


def is_file(text: str) -> bool:
    """Whether ``text`` can be the path of a file that is the same wherever it is read."""
    return re.fullmatch(FILE, text, re.DOTALL) is not None


def with_parameters(url: str, parameters: Mapping[str, str]) -> str:
    """``url``, an address that has been checked, with those of ``parameters`` that it does not have itself."""
    before, _, query = url.partition("?")
    own = {key for key, _ in parse_qsl(query, keep_blank_values=True)}
    added = urlencode({key: value for key, value in parameters.items() if key not in own}, safe="/~", quote_via=quote)
    return f"{before}?{'&'.join(filter(None, (query, added)))}" if added else url


def url_problem(url: str) -> str | None:
    """What keeps ``url`` from being an AMQP URL that one can connect with; None if nothing does."""
    if not url.isascii() and not is_utf8(url):
        return "it is no UTF-8 text"
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        return "it holds spaces or control characters"
    scheme, colon, rest = url.partition(":")
    if not colon or scheme.lower() not in ("amqp", "amqps"):
        return "the scheme must be amqp or amqps"
    if not rest.startswith("//"):
        return "after the scheme comes ://"
    try:
        parts = urlsplit(url)
        problem = _login_problem(parts.username, parts.password) or _place_problem(parts.hostname, parts.port)
    except ValueError:
        return "its host or port (1 to 65535) cannot be read"
    if problem is None and (parts.fragment or "/" in parts.path[1:]):
        problem = "the virtual host must not hold '/' or '#'"
    if problem is None and len(unquote(parts.path[1:]).encode()) > MAX_SHORT_BYTES:
        problem = f"the virtual host must have {MAX_SHORT_BYTES} bytes at most"
    if problem is None and "@" in (parts.path if parts.username is not None else f"{parts.path}{parts.query}"):
        problem = "behind the host stands an '@'"  # in 'amqp://me:1/2@h' the host would be 'me'
    return problem or _query_problem(parts.query) or _tls_problem(parts.scheme, parts.query)


def is_utf8(text: str) -> bool:
    """Whether ``text`` can be sent; what came from the environment may hold bytes that are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _login_problem(user: str | None, password: str | None) -> str | None:
    if user is not None and password is None:
        return "before the '@' stands no password (USER:PASSWORD)"
    if "\0" in unquote(f"{user or ''}{password or ''}"):
        return "neither user nor password can hold a NUL"  # it ends each of them on the wire
    return None


def _place_problem(host: str | None, port: int | None) -> str | None:
    if not host:
        return "the host is missing"
    if port == 0:
        return "the port must be 1 to 65535"
    return (
        None if is_host(host) else "the host is neither an IP address nor a name of letters, digits, '-', '_' and '.'"
    )


def _query_problem(query: str) -> str | None:
    if any("%" in pair.partition("=")[0] for pair in query.split("&")):
        return "the names of URL parameters are written as they are, without %XX"
    seen = set()
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key == "auth_mechanism":  # RabbitMQ's own clients have it
            return "the URL parameter auth_mechanism leaves no choice here: hermes_ray logs in with PLAIN"
        if key not in QUERY:
            near = difflib.get_close_matches(key, sorted(QUERY), n=1)
            hint = f"perhaps {near[0]} is meant" if near else f"known are {', '.join(sorted(QUERY))}"
            return f"it has an unknown URL parameter, {hint}"
        if key in seen:
            return f"the URL parameter {key} is given twice"
        seen.add(key)
        if problem := _value_problem(key, value):
            return f"the URL parameter {key} must be {problem}"
    return None


_TEXT_QUERY: dict[str, tuple[Callable[[str], bool], str]] = {
    **dict.fromkeys(FILE_QUERY, (is_file, FILE_WORDS)),
    "locale": (lambda text: len(text.encode()) <= MAX_SHORT_BYTES, f"text of at most {MAX_SHORT_BYTES} bytes"),
    "server_name_indication": (is_host, "a host name, or disable"),
    "verify": (("verify_peer", "verify_none").__contains__, "verify_peer or verify_none"),
}


def _value_problem(key: str, value: str) -> str | None:
    """What the URL parameter must be and is not; None if ``value`` is good."""
    if key in NUMERIC_QUERY:
        low, high = NUMERIC_QUERY[key]
        is_good = re.fullmatch(r"[0-9]{1,9}", value) is not None and low <= int(value) <= high
        return None if is_good else f"a whole number from {low} to {high}"
    if key in _TEXT_QUERY:
        accepts, wanted = _TEXT_QUERY[key]
        return None if accepts(value) else wanted
    mapping = _literal(value) if key in MAPPING_QUERY else None
    if not isinstance(mapping, dict | None):
        return "a mapping such as {'name': 'value'}, percent-encoded"
    if key == "tcp_options" and not all(map(_is_socket_option, (mapping or {}).items())):
        return "a mapping of names to whole numbers, such as {'TCP_KEEPIDLE': 60}, percent-encoded"
    return None


def _tls_problem(scheme: str, query: str) -> str | None:
    given = dict(parse_qsl(query, keep_blank_values=True))
    ours = sorted(TLS_QUERY & given.keys())
    if ours and scheme.lower() != "amqps":
        return f"the URL parameter {ours[0]} is for TLS, and the scheme is not amqps"
    if ours and "ssl_options" in given:
        return f"the URL parameters ssl_options and {ours[0]} both say how TLS is done, keep one of them"
    lonely = next((name for name in ("keyfile", "password") if name in given), None)
    return f"the URL parameter {lonely} needs certfile" if lonely and "certfile" not in given else None


def _is_socket_option(option: tuple[object, object]) -> bool:
    name, value = option
    return isinstance(name, str) and isinstance(value, int) and 0 <= value < 2**31


def _literal(text: str) -> Any:
    """What pika, which evaluates it as a Python literal, gets of ``text``; an empty tuple where it gets nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a backslash, which they would quote
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return ()
