"""Why there is no connection, in words: the same for whoever tries, a command, the scaler or a worker."""

from __future__ import annotations

import ast
import errno
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from pika.exceptions import (
    AuthenticationError,
    ConnectionOpenAborted,
    IncompatibleProtocolError,
    ProbableAuthenticationError,
)

from hermes_ray.broker.tls import split_tls
from hermes_ray.config.secrets import mask_url

__all__ = ["NO_AMQP", "Failure", "address", "failure_of", "reason_of", "sentence", "told"]

_NOBODY = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
NO_AMQP = "the broker sent what is no AMQP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why the broker at ``address`` cannot be had. ``text`` goes on from "the broker at it" where it ``is_final``:
    where to wait and try again is of no use.
    """

    address: str
    text: str
    is_final: bool = False


def sentence(failures: Sequence[Failure], wait_s: float = 0) -> str:
    """What to say, after ``wait_s`` of trying, where each of a cluster's nodes failed."""
    for failure in failures:
        if failure.is_final:
            return f"the broker at {failure.address} {failure.text}"
    waited = f" within {wait_s:g} s" if wait_s else ""
    for failure in failures:
        if _LIMIT.fullmatch(failure.text):
            return f"the broker at {failure.address} took no more connections{waited}, its {failure.text}: raise it"
    places = ", ".join(f"{failure.address} ({failure.text})" for failure in failures)
    return f"no broker answered{waited} at {places}: start it or correct broker.url"


def address(url: str) -> str:
    """``url`` without password and parameters."""
    return mask_url(url).partition("?")[0]


def failure_of(url: str, error: BaseException) -> Failure:
    """Why no connection to ``url`` came about, by what pika said of it."""
    cause = _cause(error)
    text = reason_of(cause)
    final = _NO_LOGIN if isinstance(cause, AuthenticationError) else _refusal(text) or _tls_text(url, cause, text)
    said = final or _passing_text(url, cause, text)
    return Failure(address=address(url), text=said, is_final=final is not None)


def reason_of(error: BaseException) -> str:
    """The innermost cause in its own words; pika wraps a refused socket three deep."""
    cause = _cause(error)
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return " ".join(str(part) for part in cause.args) or type(cause).__name__


def told(text: str) -> str:
    """What the broker said; where that was cut within a character pika has bytes, and makes ``b'...'`` of them."""
    if re.match(r"b['\"]", text) is None:
        return text
    raw: bytes = ast.literal_eval(text)
    return raw.decode("utf-8", "ignore")


def _cause(error: BaseException) -> BaseException:
    """Of several addresses of one host the last where somebody listens, else the last."""
    several = [_cause(inner) for inner in getattr(error, "exceptions", None) or () if isinstance(inner, BaseException)]
    if several:
        return next((inner for inner in reversed(several) if getattr(inner, "errno", None) not in _NOBODY), several[-1])
    for inner in (getattr(error, "exception", None), *error.args[:1]):
        if isinstance(inner, BaseException):
            return _cause(inner)
    return error


_NO_LOGIN = "does not offer the login mechanism PLAIN, the one hermes_ray has: allow it in its auth_mechanisms"
# Anchored, as names of users and virtual hosts stand in these texts and may be any words.
_CLOSED = re.compile(r"(?:\w+: )?\(?(?:403|530)\)? [b'\"]*(?P<said>(?:ACCESS_REFUSED|NOT_ALLOWED) - .*)", re.DOTALL)
_LIMIT = re.compile(r"connection limit \(\d+\) is reached(?=['\"]?$)")


def _refusal(text: str) -> str | None:
    """What a broker that speaks AMQP refuses for good; its text ends with dots after 255 bytes, in a name too."""
    closed = _CLOSED.match(text)
    if closed is None or _LIMIT.search(text):
        return None
    if closed["said"].startswith("ACCESS_REFUSED"):
        return "refused the login: correct user and password in broker.url, special characters as %XX"
    if closed["said"].startswith("NOT_ALLOWED - vhost "):
        return "has no such virtual host: create it or correct broker.url"
    if closed["said"].startswith("NOT_ALLOWED - access to vhost "):
        return "refused this user the virtual host: grant it permissions or correct broker.url"
    words = closed["said"].rstrip("'\"")
    return f"refused the connection ({words}): correct broker.url"


def _passing_text(url: str, cause: BaseException, text: str) -> str:
    """What may be over at the next try."""
    if isinstance(cause, socket.gaierror):
        return f"host name not found: {text}"
    if isinstance(cause, ProbableAuthenticationError):
        return "it ended the connection during the login"
    if isinstance(cause, (AMQPConnectorStackTimeout, ConnectionOpenAborted)):
        return "no answer in time"
    if _is_tls(url) and isinstance(
        cause, (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)
    ):
        return "it ended the TLS handshake, is this its TLS port?"
    if isinstance(cause, IncompatibleProtocolError) or text.startswith(NO_AMQP):
        return "it does not speak AMQP there, a TLS port needs amqps://"
    limit = _LIMIT.search(text)
    return limit[0] if limit else text


_NO_TLS = re.compile(
    "WRONG_VERSION_NUMBER|HTTP_REQUEST|HTTPS_PROXY_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG|UNKNOWN_PROTOCOL"
)
_OF_OUR_CERTIFICATE = re.compile("ALERT.*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)")
_REASON = re.compile(r"\[SSL: (\w+)\]")  # pika makes text of what comes once the handshake is over on our side


def _tls_text(url: str, cause: BaseException, text: str) -> str | None:
    """What is wrong with the TLS of both; None where that is not what failed."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _untrusted(url, cause)
    found = _REASON.search(text)
    reason = (getattr(cause, "reason", None) if isinstance(cause, ssl.SSLError) else found and found[1]) or ""
    if isinstance(cause, IncompatibleProtocolError) and _is_tls(url):
        return _ended(url, reason)
    if not reason or isinstance(cause, ssl.SSLEOFError):
        return None
    if _NO_TLS.search(reason):
        return "does not speak TLS on this port: name its TLS port, by default 5671, or write amqp://"
    if _OF_OUR_CERTIFICATE.search(reason):
        return _ended(url, reason)
    return f"and we cannot agree on TLS ({_alert(reason)}): its log says more"


def _ended(url: str, reason: str) -> str:
    """A broker that finds fault with our certificate, or the lack of one, does so once we are done with the handshake.

    What it says of that comes after what we have sent by then, and the system may have cut the connection before.
    """
    if "certfile" not in url.replace("cacertfile", ""):
        return "ended the connection during TLS: it may want our certificate, broker.tls.cert and key"
    words = f" ({_alert(reason)})" if reason else ""
    return f"ended the connection during TLS: it may not take our certificate{words}, broker.tls.cert and key"


def _alert(reason: str) -> str:
    return re.sub(r"^(?:SSLV3|TLSV1|TLSV13)_ALERT_", "", reason).lower().replace("_", " ")


def _is_tls(url: str) -> bool:
    return url.lower().startswith("amqps:") or "ssl_options" in url


# OpenSSL's X509_V_ERR_...; 7 is a signature by another CA of the same name
_EXPIRED, _NOT_YET, _OTHER_NAMES, _OF_ANOTHER_CA = 10, 9, (62, 63, 64), (2, 7, 18, 19, 20, 21)


def _untrusted(url: str, error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _EXPIRED:
        return "has a certificate that has expired: renew it"
    if error.verify_code == _NOT_YET:
        return "has a certificate that is not valid yet: set the clocks right, or renew it"
    if error.verify_code in _OTHER_NAMES:
        name = split_tls(url)[1].get("server_name_indication") or urlsplit(url).hostname
        return f"has a certificate that is not for {name}: write a name it is for in broker.url"
    if error.verify_code in _OF_ANOTHER_CA:
        return f"has a certificate that is not trusted ({error.verify_message}): name its CA's file in broker.tls.ca"
    return f"has a certificate that we do not take ({error.verify_message}): renew it"
