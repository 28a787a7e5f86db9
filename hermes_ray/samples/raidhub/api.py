"""A local stand-in for the game's API: slow, rate-limited, and sometimes out.

``python -m hermes_ray.samples.raidhub.api --port 8077`` prints its URL and serves until SIGINT or SIGTERM:

    GET  /players/ID       200 and a profile, 404, 429 with Retry-After, or 503 during an outage
    POST /outage?on=1      every player request gets 503 from now on; ``on=0`` ends that
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from http import HTTPStatus
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from hermes_ray.samples.raidhub.loads import FIRST_PLAYER_ID, PLAYERS_COUNT, player_name

__all__ = ["Api", "TokenBucket"]

LATENCY_SIGMA = 0.4
PORT_MAX = 65535
PLAYERS_PER_CLAN = 40

_Answer = tuple[int, dict[str, object], dict[str, str]]


class TokenBucket:
    """Allows ``rate_hz`` requests a second, and ``rate_hz`` at once after a quiet second (at least one)."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._tokens = max(rate_hz, 1.0)
        self._at_s: float | None = None

    def take(self, now_s: float) -> float:
        """Take one token at ``now_s``: 0.0 if there was one, else the seconds until the next.

        At 10 Hz with 0.4 tokens left the answer is (1 - 0.4) / 10 = 0.06.
        """
        passed_s = 0.0 if self._at_s is None else max(now_s - self._at_s, 0.0)
        self._at_s = now_s
        self._tokens = min(self._tokens + passed_s * self._rate_hz, max(self._rate_hz, 1.0))
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate_hz


class Api:
    """The server in a thread of its own, on loopback; ``with Api(...) as api: api.url``.

    ``port`` 0 takes a free one; ``latency_s`` is the mean of a log-normal distribution; ``rate_hz`` is the limit beyond
    which it answers 429, ``None`` for no limit. The same ``seed`` and order of requests give the same latencies. Set
    ``outage`` from any thread. ``answered`` counts responses by status, ``connections_count`` connections ever made.
    """

    def __init__(
        self, *, port: int = 0, latency_s: float = 0.25, rate_hz: float | None = None, seed: int | None = None
    ) -> None:
        self.outage = False
        self.answered: Counter[int] = Counter()
        self.connections_count = 0
        self._port = port
        self._latency_s = latency_s
        self._bucket = None if rate_hz is None else TokenBucket(rate_hz)
        self._rng = random.Random(seed)
        self._listening: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="raidhub api", daemon=True)

    def start(self) -> None:
        """Listen; raises ``OSError`` when the port is taken."""
        self._thread.start()
        self._port = self._listening.result()[0]

    def stop(self) -> None:
        """Close every connection and end the thread."""
        _, loop, stopping = self._listening.result()
        loop.call_soon_threadsafe(stopping.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """The base URL, once started."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Api:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def draw_latency_s(self) -> float:
        """The next latency of the seeded sequence."""
        if self._latency_s == 0:
            return 0.0
        mu = math.log(self._latency_s) - LATENCY_SIGMA**2 / 2  # so that the mean, not the median, is latency_s
        return self._rng.lognormvariate(mu, LATENCY_SIGMA)

    async def _serve(self) -> None:
        stopping = asyncio.Event()
        try:
            server = await asyncio.start_server(self._converse, "127.0.0.1", self._port, backlog=1024)
        except OSError as error:
            self._listening.set_exception(error)
            return
        port: int = server.sockets[0].getsockname()[1]
        self._listening.set_result((port, asyncio.get_running_loop(), stopping))
        await stopping.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_count += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, body, headers = await self._answer(head)
                self.answered[status] += 1
                writer.write(_encode(status, body, headers))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: str) -> _Answer:
        method, _, rest = head.partition(" ")
        target = urlsplit(rest.partition(" ")[0])
        if method == "POST" and target.path == "/outage":
            self.outage = parse_qs(target.query).get("on", ["1"])[-1] != "0"
            return 200, {"outage": self.outage}, {}
        if method == "GET" and target.path.startswith("/players/"):
            return await self._player(target.path.removeprefix("/players/"))
        return 404, {"error": "no such resource"}, {}

    async def _player(self, name: str) -> _Answer:
        if self.outage:
            return 503, {"error": "down for maintenance"}, {}
        if self._bucket is not None and (wait_s := self._bucket.take(time.monotonic())) > 0:
            return 429, {"error": "too many requests"}, {"Retry-After": str(math.ceil(wait_s))}
        await asyncio.sleep(self.draw_latency_s())
        number = int(name) - FIRST_PLAYER_ID if re.fullmatch(r"[0-9]{1,19}", name) else -1
        if not 0 <= number < PLAYERS_COUNT:
            return 404, {"error": "no such player"}, {}
        clan = None if number % 5 == 0 else f"Clan {number // PLAYERS_PER_CLAN}"
        return 200, {"player_id": name, "name": player_name(int(name)), "clan": clan}, {}


def _encode(status: int, body: dict[str, object], headers: dict[str, str]) -> bytes:
    raw = json.dumps(body).encode()
    shown = {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in shown.items()))
    return "\r\n".join((*lines, "\r\n")).encode() + raw


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m hermes_ray.samples.raidhub.api", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--port", type=int, default=8077, help="0 takes a free one (default 8077)")
    parser.add_argument("--latency-s", type=float, default=0.25, help="mean latency in seconds (default 0.25)")
    parser.add_argument("--rate-hz", type=float, help="requests per second beyond which it answers 429 (default: none)")
    parser.add_argument("--seed", type=int, help="makes the latencies repeatable")
    chosen = parser.parse_args()
    if not (0 <= chosen.port <= PORT_MAX and 0 <= chosen.latency_s < math.inf):
        parser.error("--port must be from 0 to 65535, --latency-s 0 or more")
    if chosen.rate_hz is not None and not 0 < chosen.rate_hz < math.inf:
        parser.error("--rate-hz must be more than 0")
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the thread starts, so that it blocks them too
    api = Api(port=chosen.port, latency_s=chosen.latency_s, rate_hz=chosen.rate_hz, seed=chosen.seed)
    try:
        api.start()
    except OSError as error:
        sys.exit(f"the API cannot listen on port {chosen.port}: {error.strerror}; choose another with --port")
    print(api.url, flush=True)
    signal.sigwait(ends)
    api.stop()


if __name__ == "__main__":
    main()
