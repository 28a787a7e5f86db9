"""A small HTTP/1.1 GET client for asyncio: keep-alive connections, one time limit, nothing that blocks the loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["BadResponse", "HttpClient", "Response"]

BODY_MAX_BYTES = 8 << 20


class BadResponse(Exception):
    """The server does not speak HTTP/1.1 as we understand it, or sent too much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """``headers`` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class HttpClient:
    """GETs below ``base_url`` (``http://`` or ``https://``); use it from one event loop.

    A connection that delivered its answer whole is kept for the next request, so there are at most as many as requests
    at once. Raises ``ValueError`` for another kind of URL.
    """

    def __init__(self, base_url: str, *, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"an API is reached by an http:// or https:// URL, not a {parts.scheme or 'relative'} one")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname
        self._port = parts.port or (443 if self._tls else 80)
        self._host_header = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []

    async def get(self, path: str) -> Response:
        """Send one GET; raises ``OSError`` (``TimeoutError`` included) when there is no answer, or ``BadResponse``."""
        async with asyncio.timeout(self._timeout_s):
            while self._idle:
                with suppress(ConnectionError, asyncio.IncompleteReadError):  # the server closed it while it was idle
                    return await self._exchange(self._idle.pop(), path)
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            try:
                return await self._exchange(_Connection(reader, writer), path)
            except asyncio.IncompleteReadError as error:
                raise ConnectionResetError("the server closed the connection before its answer was complete") from error

    def close(self) -> None:
        """Close the idle connections; call it on the loop."""
        while self._idle:
            self._idle.pop().writer.close()

    async def _exchange(self, connection: _Connection, path: str) -> Response:
        reusable = False
        try:
            head = (
                f"GET {self._prefix}{path} HTTP/1.1",
                f"Host: {self._host_header}",
                "Accept: application/json",
                "\r\n",
            )
            connection.writer.write("\r\n".join(head).encode("ascii"))
            await connection.writer.drain()
            response, reusable = await _read_response(connection.reader)
            return response
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            raise BadResponse(f"the answer is not HTTP/1.1: {error}") from error
        finally:
            if reusable:
                self._idle.append(connection)
            else:
                connection.writer.close()


async def _read_response(reader: asyncio.StreamReader) -> tuple[Response, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    framed = "chunked" in headers.get("transfer-encoding", "") or "content-length" in headers
    if "chunked" in headers.get("transfer-encoding", ""):
        body = await _read_chunks(reader)
    elif framed:
        body = await _read_exactly(reader, int(headers["content-length"]))
    else:
        body = await reader.read(BODY_MAX_BYTES)
    keep = framed and head[0].startswith("HTTP/1.1") and headers.get("connection", "").lower() != "close"
    return Response(status=status, headers=headers, body=body), keep


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += await _read_exactly(reader, size, already=len(body))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return bytes(body)


async def _read_exactly(reader: asyncio.StreamReader, size: int, *, already: int = 0) -> bytes:
    if not 0 <= size <= BODY_MAX_BYTES - already:
        raise BadResponse(f"a body of more than {BODY_MAX_BYTES} bytes")
    return await reader.readexactly(size)
