"""The sample's API server and HTTP client against each other, and the client against odd servers."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Coroutine
from contextlib import closing, suppress
from typing import Any

import pytest

from hermes_ray.samples.raidhub.api import Api, TokenBucket
from hermes_ray.samples.raidhub.http_client import BadResponse, HttpClient, Response
from hermes_ray.samples.raidhub.loads import FIRST_PLAYER_ID

PATH = f"/players/{FIRST_PLAYER_ID}"


def get(url: str, *paths: str) -> list[Response]:
    async def run() -> list[Response]:
        client = HttpClient(url, timeout_s=2.0)
        found = [await client.get(path) for path in paths]
        client.close()
        return found

    return asyncio.run(run())


def test_a_bucket_allows_a_second_of_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(10.0)
    assert [bucket.take(0.0) for _ in range(10)] == [0.0] * 10
    assert bucket.take(0.0) == pytest.approx(0.1)
    assert bucket.take(0.04) == pytest.approx(0.06)
    assert bucket.take(0.2) == 0.0
    assert bucket.take(0.2) == 0.0
    assert bucket.take(0.2) > 0.0


def test_a_rate_below_one_a_second_still_lets_one_through() -> None:
    bucket = TokenBucket(0.5)
    assert bucket.take(0.0) == 0.0
    assert bucket.take(1.0) == pytest.approx(1.0)
    assert bucket.take(2.0) == 0.0


def test_known_players_have_profiles_and_others_do_not_exist() -> None:
    with Api(latency_s=0.0) as api:
        found = get(api.url, PATH, "/players/1", "/players/x", f"/players/{FIRST_PLAYER_ID + 20_000}", "/clans/1")
    assert [response.status for response in found] == [200, 404, 404, 404, 404]
    assert json.loads(found[0].body) == {"player_id": str(FIRST_PLAYER_ID), "name": "AmberArrow#1000", "clan": None}


def test_beyond_its_rate_the_api_answers_429_with_retry_after() -> None:
    with Api(latency_s=0.0, rate_hz=5.0) as api:
        found = get(api.url, *[PATH] * 8)
    assert [response.status for response in found][:5] == [200] * 5
    limited = [response for response in found if response.status == 429]
    assert limited
    assert {response.headers["retry-after"] for response in limited} == {"1"}


def test_an_outage_begins_and_ends_by_post() -> None:
    with Api(latency_s=0.0) as api:
        for on, status in (("1", 503), ("0", 200)):
            post = urllib.request.Request(f"{api.url}/outage?on={on}", method="POST")
            assert json.load(urllib.request.urlopen(post, timeout=30)) == {"outage": on == "1"}
            assert [response.status for response in get(api.url, PATH)] == [status]


def test_latency_has_the_mean_that_was_asked_for_and_repeats_with_the_seed() -> None:
    def latencies_s() -> list[float]:
        api = Api(latency_s=0.02, seed=4)
        return [api.draw_latency_s() for _ in range(4000)]

    first = latencies_s()
    assert sum(first) / len(first) == pytest.approx(0.02, rel=0.05)
    assert min(first) > 0
    assert latencies_s() == first


def test_the_api_and_the_client_manage_500_calls_a_second_over_kept_connections() -> None:
    async def run(url: str) -> float:
        client = HttpClient(url, timeout_s=5.0)

        async def slot() -> None:
            for _ in range(100):
                assert (await client.get(PATH)).status == 200

        began_s = time.monotonic()
        await asyncio.gather(*(slot() for _ in range(10)))
        took_s = time.monotonic() - began_s
        client.close()
        return took_s

    with Api(latency_s=0.0) as api:
        took_s = asyncio.run(run(api.url))
        assert api.connections_count == 10
    assert 1000 / took_s > 500


def test_a_port_that_is_taken_is_an_error_at_start() -> None:
    with Api() as api, pytest.raises(OSError, match="in use"):
        Api(port=int(api.url.rpartition(":")[2])).start()


def test_the_command_prints_its_url_and_ends_with_sigterm() -> None:
    command = [sys.executable, "-m", "hermes_ray.samples.raidhub.api", "--port", "0", "--latency-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert [response.status for response in get(url, PATH)] == [200]
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


def test_the_command_names_a_taken_port_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "hermes_ray.samples.raidhub.api", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"the API cannot listen on port {port}: ")
    assert done.stderr.count("\n") == 1


def against(answers: list[bytes], use: Any) -> tuple[Any, int]:
    """The result of ``use(client)`` and the connections it took, where the n-th request gets the n-th answer.

    The server closes the connection after the last answer, an empty one, and one that ends in ``CUT``.
    """
    connections = 0
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with closing(writer), suppress(asyncio.IncompleteReadError):
            while left:
                await reader.readuntil(b"\r\n\r\n")
                answer = left.pop(0)
                writer.write(answer)
                if not answer or answer.endswith(CUT):
                    break

    async def run() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/", timeout_s=0.5)
        try:
            return await use(client)
        finally:
            client.close()
            server.close()

    return asyncio.run(run()), connections


CUT = b"the end"
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def twice(client: HttpClient) -> list[bytes]:
    return [(await client.get("/x")).body, (await client.get("/x")).body]


def once(client: HttpClient) -> Coroutine[Any, Any, Response]:
    return client.get("/x")


def test_a_connection_is_used_again() -> None:
    assert against([WHOLE, WHOLE], twice) == ([b"ok", b"ok"], 1)


def test_a_kept_connection_the_server_closed_is_replaced_unnoticed() -> None:
    assert against([WHOLE, b"", WHOLE], twice) == ([b"ok", b"ok"], 2)


def test_a_chunked_answer_is_put_together() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: v\r\n\r\n"
    )
    assert against([chunked, WHOLE], twice) == ([b"abc0123456789", b"ok"], 1)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    open_ended = b"HTTP/1.1 200 OK\r\n\r\nsome text until " + CUT
    assert against([open_ended, WHOLE], twice) == ([b"some text until the end", b"ok"], 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nnot " + CUT, ConnectionError),
        (b"hello\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", BadResponse),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi", TimeoutError),
    ],
)
def test_an_answer_that_is_not_one_is_an_error(answer: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        against([answer, WHOLE], once)


@pytest.mark.parametrize("url", ["ftp://host/", "host:80", "http://"])
def test_only_http_urls_are_taken(url: str) -> None:
    with pytest.raises(ValueError, match="http:// or https://"):
        HttpClient(url, timeout_s=1.0)
