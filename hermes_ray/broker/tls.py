"""The TLS of a connection, made anew for each from files of this node: renewed ones count at the next connection."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode

import pika

from hermes_ray.config.urls import TLS_QUERY
from hermes_ray.errors import UserMistake

__all__ = ["split_tls", "tls_options"]


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
        raise _mistake(f"{path} holds no PEM certificate", "broker.tls.ca") from None


def _identify(context: ssl.SSLContext, certificate: str, key: str | None, password: str | None) -> None:
    certificate = _readable(certificate, "broker.tls.cert")
    key = certificate if key is None else _readable(key, "broker.tls.key")
    is_encrypted = False

    def passphrase() -> str:  # without one OpenSSL would ask at the terminal
        nonlocal is_encrypted
        is_encrypted = True
        return password or ""

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise _mistake(f"the private key in {key} is not that of {certificate}", "broker.tls.key") from None
        if is_encrypted:
            opens = "needs its password" if password is None else "does not open with the password there is"
            raise _mistake(f"the private key in {key} {opens}", "broker.tls.password") from None
        held = certificate if key == certificate else f"{certificate} and {key}"
        raise _mistake(f"{held}: no PEM certificate with its private key", "broker.tls.cert and key") from None


def _readable(path: str, key: str) -> str:
    path = os.path.expanduser(path)
    try:
        with Path(path).open("rb"):
            return path
    except OSError as error:
        raise _mistake(f"{path} cannot be read ({error.strerror}): put it there", key, also=True) from None


def _mistake(what: str, key: str, *, also: bool = False) -> UserMistake:
    return UserMistake(f"on node {socket.gethostname()} {what}{', or' if also else ':'} correct {key}")
