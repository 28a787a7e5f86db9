"""The TLS of a connection, made anew for each from files of this node: renewed ones count at the next connection."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
import stat
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode

import pika

from hermes_ray.config.secrets import mask_url
from hermes_ray.config.sentences import shown
from hermes_ray.config.urls import TLS_QUERY
from hermes_ray.errors import UserMistake

__all__ = ["split_tls", "tls_options"]

_LONGEST_PATH = 255  # characters of one that is told whole
_WEAK = re.compile("_TOO_(?:SMALL|WEAK)$")


def split_tls(url: str) -> tuple[str, dict[str, str]]:
    """``url`` as pika knows URLs, and what its parameters say of TLS under RabbitMQ's names for it."""
    before, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    tls = {key: value for key, value in pairs if key in TLS_QUERY}
    if not tls:
        return url, tls
    return f"{before}?{urlencode([pair for pair in pairs if pair[0] not in tls], quote_via=quote)}", tls


def tls_options(settings: Mapping[str, str]) -> pika.SSLOptions:
    """What pika needs for TLS by ``settings`` (see ``split_tls``).

    Without ``cacertfile`` the system's CAs are trusted. ``server_name_indication`` is the name to ask for and to find
    in the certificate, ``disable`` takes any. Raises ``UserMistake`` with a sentence naming this node and the file.
    """
    name = settings.get("server_name_indication")
    context = _trusting(settings.get("cacertfile"))
    if settings.get("verify") == "verify_none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif name == "disable":
        context.check_hostname = False
    if "certfile" in settings:
        _identify(context, settings["certfile"], settings.get("keyfile"), settings.get("password"))
    return pika.SSLOptions(context, None if name == "disable" else name)


def _trusting(ca: str | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    path = _readable(ca, "broker.tls.ca")
    try:
        return ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise _mistake(f"{_told(path)} holds no PEM certificate", "broker.tls.ca") from None
    except OSError as error:
        raise _unreadable(_told(path), error, "broker.tls.ca") from None


def _identify(context: ssl.SSLContext, certificate: str, key: str | None, password: str | None) -> None:
    certificate = _readable(certificate, "broker.tls.cert")
    key = certificate if key is None else _readable(key, "broker.tls.key")
    told_key, told_certificate = _told(key), _told(certificate)
    is_encrypted = False

    def passphrase() -> str:  # without one OpenSSL would ask at the terminal
        nonlocal is_encrypted
        is_encrypted = True
        return password or ""

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or ""
        if reason == "KEY_VALUES_MISMATCH":
            of_another = f"the private key in {told_key} is not that of {told_certificate}"
            raise _mistake(of_another, "broker.tls.key") from None
        if is_encrypted:
            opens = "needs its password" if password is None else "does not open with the password there is"
            raise _mistake(f"the private key in {told_key} {opens}", "broker.tls.password") from None
        if _WEAK.search(reason):
            weak = f"{told_certificate} is a certificate that we do not take ({reason.lower().replace('_', ' ')})"
            raise _mistake(f"{weak}: renew it", "broker.tls.cert", also=True) from None
        held = told_certificate if key == certificate else f"{told_certificate} and {told_key}"
        raise _mistake(f"{held}: no PEM certificate with its private key", "broker.tls.cert and key") from None
    except OSError as error:
        held = told_certificate if key == certificate else f"{told_certificate} or {told_key}"
        raise _unreadable(held, error, "broker.tls.cert and key") from None


def _readable(path: str, key: str) -> str:
    """``path`` without ``~``, once something was read of it; to open or to read what is no file may take for ever."""
    path = os.path.expanduser(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(path, "rb", buffering=0) as file:
            file.read(1)
    except OSError as error:
        raise _unreadable(_told(path), error, key) from None
    return path


def _told(path: str) -> str:
    """``path`` in one line; one in a URL may have swallowed a parameter, such as a password behind a ``;``."""
    masked = mask_url(path)
    return masked if masked.isprintable() and len(masked) <= _LONGEST_PATH else shown(path)


def _unreadable(told: str, error: OSError, key: str) -> UserMistake:
    why = error.strerror or type(error).__name__
    return _mistake(f"{told} cannot be read ({why}): put it there", key, also=True)


def _mistake(what: str, key: str, *, also: bool = False) -> UserMistake:
    return UserMistake(f"on node {socket.gethostname()} {what}{', or' if also else ':'} correct {key}")
