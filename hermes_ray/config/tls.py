"""The knobs of TLS, and whether they go with the broker's URLs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from hermes_ray.config.knobs import Knob, Takes, declare
from hermes_ray.config.urls import FILE, FILE_WORDS, is_file

__all__ = ["TlsConfig", "tls_problem"]


_VERIFY = {"verify_peer": True, "verify_none": False}


def _file(meaning: str, *, alias: str) -> Any:
    return declare(
        None,
        Knob(
            meaning=meaning,
            allowed=FILE_WORDS,
            accepts=is_file,
            schema={"pattern": f"^{FILE}$"},
            alias=alias,
            takes=Takes.ROLLING,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """How TLS is done with brokers at amqps:// URLs. Every process that connects reads the files on its own node.

    What RabbitMQ's own URLs call these things, and write for ``verify``, is understood too.
    """

    ca: str | None = _file(
        "The CAs' certificates to trust, a PEM file on every node; null is the system's.", alias="cacertfile"
    )
    cert: str | None = _file(
        "Our certificate, a PEM file on every node, for a broker that wants one.", alias="certfile"
    )
    key: str | None = _file("Its private key, a PEM file on every node; null where cert holds it.", alias="keyfile")
    password: str | None = declare(
        None,
        Knob(
            meaning="What the private key is encrypted with, by ${oc.env:NAME}.",
            secret=True,
            takes=Takes.ROLLING,
        ),
    )
    verify: bool = declare(
        True,
        Knob(
            meaning="Whether the broker's certificate and its host name are checked.",
            allowed=f"true or false, or {' or '.join(_VERIFY)}",
            schema={"pattern": f"^(?:{'|'.join(_VERIFY)})$"},
            parse=_VERIFY.get,
            takes=Takes.ROLLING,
        ),
    )

    @property
    def parameters(self) -> dict[str, str]:
        """What is set, under the names that RabbitMQ's own URLs have for it."""
        named = {"cacertfile": self.ca, "certfile": self.cert, "keyfile": self.key, "password": self.password}
        given = {name: value for name, value in named.items() if value is not None}
        return given if self.verify else given | {"verify": "verify_none"}


def tls_problem(tls: TlsConfig, urls: Iterable[str]) -> str | None:
    """What keeps ``tls`` from being done with every one of ``urls``, in a sentence; None if nothing does."""
    given = [entry.name for entry in dataclasses.fields(tls) if getattr(tls, entry.name) != entry.default]
    if not given:
        return None
    start = f"broker.tls.{given[0]} is set, and broker.url"
    for url in urls:
        if not url.lower().startswith("amqps:"):
            return f"{start} does not begin with amqps://: write amqps:// and the broker's TLS port, or leave it out"
        if "ssl_options" in dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)):
            return f"{start} has ssl_options, which say how TLS is done too: keep one of them"
    if tls.cert is None and given[0] in ("key", "password"):
        return f"broker.tls.{given[0]} is set without broker.tls.cert: name the certificate that it belongs to"
    return None
