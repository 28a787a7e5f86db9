"""The three handlers of the sample, on a real database and a real local API, without a broker."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_ray import Message, PermanentError
from hermes_ray.samples.raidhub import CharacterFill, InstanceStore, PlayerCrawl, body, read_ledger
from hermes_ray.samples.raidhub.api import Api
from hermes_ray.samples.raidhub.loads import FIRST_PLAYER_ID
from hermes_ray.samples.raidhub.player_crawl import ApiUnavailable, RateLimited


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "deep" / "raidhub.sqlite")


@pytest.fixture
def api() -> Iterator[Api]:
    with Api(latency_s=0.0) as running:
        yield running


def rows(database: str, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def report(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "instance_id": "15000000001",
        "activity": "Vault of Glass",
        "started": "2024-05-01T20:15:00Z",
        "duration_s": 1980,
        "players": [
            {"player_id": "22", "name": "Bo", "kills": 5, "deaths": 1, "assists": 2, "time_played_s": 1900},
            {"player_id": 11, "name": "Al", "kills": 9, "deaths": 0, "assists": 4, "time_played_s": 1980},
        ],
    }
    return json.dumps(fields | changes).encode()


def store(database: str, *messages: Message) -> None:
    handler = InstanceStore(database)
    for message in messages:
        handler(message)
    handler.close()


def crawl(database: str, api: str, *messages: Message) -> list[BaseException | None]:
    async def run() -> list[BaseException | None]:
        handler = PlayerCrawl(database, api, timeout_s=2.0)
        results = await asyncio.gather(*(handler(message) for message in messages), return_exceptions=True)
        await handler.close()
        return results

    return asyncio.run(run())


def crawl_message(player_id: int, id: str) -> Message:
    return Message(json.dumps({"player_id": str(player_id)}).encode(), topic="player_crawl", id=id)


def fill_message(id: str, *player_ids: int) -> Message:
    characters = [{"character_id": 7000 + p, "player_id": p, "class": "titan"} for p in player_ids]
    return Message(json.dumps({"characters": characters}).encode(), topic="character_fill", id=id)


def test_a_report_becomes_an_instance_its_players_and_their_appearances(database: str) -> None:
    store(database, Message(report(), topic="instance_store", id="a"))
    assert rows(database, "SELECT * FROM instance") == [(15000000001, "Vault of Glass", 1714594500.0, 1980)]
    assert rows(database, "SELECT id, name, reports_count FROM player") == [(11, "Al", 1), (22, "Bo", 1)]
    assert rows(database, "SELECT * FROM appearance") == [
        (15000000001, 11, 9, 0, 4, 1980),
        (15000000001, 22, 5, 1, 2, 1900),
    ]


def test_a_report_delivered_three_times_is_counted_three_times_and_stored_once(database: str) -> None:
    store(database, *(Message(report(), topic="instance_store", id="a", attempt=n) for n in (1, 2, 3)))
    assert rows(database, "SELECT reports_count FROM player") == [(1,), (1,)]
    assert rows(database, "SELECT topic, id, attempt, times FROM handled") == [("instance_store", "a", 1, 3)]
    ledger = read_ledger(database)
    assert (ledger.handled, ledger.distinct) == ({"instance_store": 3}, {"instance_store": 1})
    assert ledger.ids == {"instance_store": frozenset({"a"})}


def test_one_id_in_two_topics_is_two_messages(database: str) -> None:
    store(database, Message(report(), topic="instance_store", id="a"), Message(report(), topic="mirror", id="a"))
    assert read_ledger(database).distinct == {"instance_store": 1, "mirror": 1}


def test_a_foreign_message_without_an_id_is_known_again_by_its_body(database: str) -> None:
    other = report(instance_id=2)
    store(database, *(Message(raw, topic="instance_store") for raw in (report(), report(), other)))
    ledger = read_ledger(database)
    assert (ledger.handled, ledger.distinct) == ({"instance_store": 3}, {"instance_store": 2})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"instance_id": None}, "instance_id must be a whole number"),
        ({"instance_id": str(1 << 63)}, "instance_id must be a whole number"),
        ({"instance_id": True}, "instance_id must be a whole number"),
        ({"activity": "a\0b"}, "activity must be a text"),
        ({"activity": "\ud800"}, "activity must be a text"),
        ({"started": "2024-05-01T20:15:00"}, "started must be an ISO 8601 time with its zone"),
        ({"started": "yesterday"}, "started must be an ISO 8601 time"),
        ({"duration_s": float("nan")}, "duration_s must be a whole number"),
        ({"duration_s": -1}, "duration_s must be a whole number"),
        ({"players": []}, "players must be a list of at least one object"),
        ({"players": [7]}, "players[0] must be a JSON object, not int"),
        ({"players": [{}]}, "player_id is missing"),
    ],
)
def test_a_report_no_retry_can_help_is_permanent(database: str, changes: dict[str, Any], sentence: str) -> None:
    handler = InstanceStore(database)
    with pytest.raises(PermanentError) as caught:
        handler(Message(report(**changes), topic="instance_store", id="a"))
    handler.close()
    assert sentence in str(caught.value)
    assert read_ledger(database).handled == {}


@pytest.mark.parametrize("raw", [b"{", b"\xff", b"[]", b'"text"'])
def test_a_body_that_is_no_json_object_is_permanent(database: str, raw: bytes) -> None:
    handler = InstanceStore(database)
    with pytest.raises(PermanentError):
        handler(Message(raw, topic="instance_store", id="a"))
    handler.close()


def test_another_kind_of_database_url_is_refused_without_repeating_its_password() -> None:
    with pytest.raises(ValueError, match="not a mysql:// URL") as caught:
        InstanceStore("mysql://me:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match=str(tmp_path)):
        InstanceStore(str(tmp_path))


def test_a_crawl_records_the_profile_once_per_message(database: str, api: Api) -> None:
    first = FIRST_PLAYER_ID + 1
    results = crawl(database, api.url, *(crawl_message(first, id) for id in ("a", "a", "b")))
    assert results == [None, None, None]
    assert rows(database, "SELECT id, name, clan, crawls_count FROM player") == [
        (first, "BraveArrow#1001", "Clan 0", 2)
    ]
    ledger = read_ledger(database)
    assert (ledger.handled, ledger.distinct) == ({"player_crawl": 3}, {"player_crawl": 2})


def test_a_hundred_crawls_at_once_all_reach_the_database(database: str, api: Api) -> None:
    results = crawl(database, api.url, *(crawl_message(FIRST_PLAYER_ID + n, f"m{n}") for n in range(100)))
    assert results == [None] * 100
    assert rows(database, "SELECT count(*), sum(crawls_count) FROM player") == [(100, 100)]


def test_a_player_the_api_does_not_know_is_permanent(database: str, api: Api) -> None:
    (error,) = crawl(database, api.url, crawl_message(404, "a"))
    assert isinstance(error, PermanentError)
    assert read_ledger(database).handled == {}


def test_an_outage_of_the_api_is_retried_not_permanent(database: str, api: Api) -> None:
    api.outage = True
    (error,) = crawl(database, api.url, crawl_message(FIRST_PLAYER_ID, "a"))
    assert isinstance(error, ApiUnavailable)
    assert "503" in str(error)


def test_an_api_that_is_not_there_is_retried_not_permanent(database: str) -> None:
    with Api() as gone:
        url = gone.url
    (error,) = crawl(database, url, crawl_message(FIRST_PLAYER_ID, "a"))
    assert isinstance(error, OSError)


def test_a_429_fails_its_message_and_keeps_the_other_slots_quiet_for_retry_after(database: str) -> None:
    async def run(url: str) -> float:
        handler = PlayerCrawl(database, url)
        await handler(crawl_message(FIRST_PLAYER_ID, "a"))
        with pytest.raises(RateLimited, match="try again in 1 s"):
            await handler(crawl_message(FIRST_PLAYER_ID, "b"))
        limited_at_s = time.monotonic()
        await handler(crawl_message(FIRST_PLAYER_ID, "c"))
        waited_s = time.monotonic() - limited_at_s
        await handler.close()
        return waited_s

    with Api(latency_s=0.0, rate_hz=1.0) as api:
        waited_s = asyncio.run(run(api.url))
        assert api.answered == {200: 2, 429: 1}
    assert waited_s >= 0.95


def test_a_slow_api_and_a_locked_database_never_block_the_event_loop(database: str) -> None:
    async def run(url: str) -> float:
        handler = PlayerCrawl(database, url)
        other = sqlite3.connect(database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # another worker holds the write lock for a while
        asyncio.get_running_loop().call_later(1.0, other.close)
        crawls = [asyncio.create_task(handler(crawl_message(FIRST_PLAYER_ID + n, f"m{n}"))) for n in range(50)]
        longest_s = 0.0
        while not all(task.done() for task in crawls):
            before_s = time.monotonic()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.monotonic() - before_s)
        await asyncio.gather(*crawls)
        await handler.close()
        return longest_s

    with Api(latency_s=0.05, seed=1) as api:
        longest_s = asyncio.run(run(api.url))
    assert longest_s < 0.6
    assert read_ledger(database).distinct == {"player_crawl": 50}


def test_a_fill_stores_characters_and_asks_for_a_crawl_of_each_unknown_player(database: str) -> None:
    handler = CharacterFill(database, pseudonym_rounds=1)
    message = fill_message("a", 2, 1)
    handler(message)
    assert [(p.topic, json.loads(p.body)) for p in message.publishes] == [
        ("player_crawl", {"player_id": "1"}),
        ("player_crawl", {"player_id": "2"}),
    ]
    later = fill_message("b", 2, 3)
    handler(later)
    handler.close()
    assert [json.loads(p.body) for p in later.publishes] == [{"player_id": "3"}]
    assert rows(database, "SELECT id, player_id, class, fills_count FROM character") == [
        (7001, 1, "titan", 1),
        (7002, 2, "titan", 2),
        (7003, 3, "titan", 1),
    ]
    published = {p.id for m in (message, later) for p in m.publishes}
    assert read_ledger(database).published == {"player_crawl": published}


def test_a_fill_asks_for_players_of_reports_but_not_for_crawled_ones(database: str, api: Api) -> None:
    store(database, Message(report(), topic="instance_store", id="a"))
    crawl(database, api.url, crawl_message(FIRST_PLAYER_ID, "b"))
    handler = CharacterFill(database, pseudonym_rounds=1)
    message = fill_message("c", 11, FIRST_PLAYER_ID)
    handler(message)
    handler.close()
    assert [json.loads(p.body) for p in message.publishes] == [{"player_id": "11"}]


def test_a_redelivered_fill_publishes_the_same_ids_again_even_after_the_crawl(database: str, api: Api) -> None:
    handler = CharacterFill(database, pseudonym_rounds=1)
    first, again = fill_message("a", FIRST_PLAYER_ID, 5), fill_message("a", FIRST_PLAYER_ID, 5)
    handler(first)
    crawl(database, api.url, crawl_message(FIRST_PLAYER_ID, first.publishes[-1].id))
    handler(again)
    handler.close()
    assert again.publishes == first.publishes
    assert rows(database, "SELECT sum(fills_count) FROM character") == [(2,)]


def test_a_class_that_does_not_exist_is_permanent(database: str) -> None:
    raw = json.dumps({"characters": [{"character_id": 1, "player_id": 1, "class": "wizard"}]}).encode()
    handler = CharacterFill(database)
    with pytest.raises(PermanentError, match="one of hunter, titan, warlock, not 'wizard'"):
        handler(Message(raw, topic="character_fill", id="a"))
    handler.close()


def test_each_handler_accepts_the_bodies_made_for_it(database: str, api: Api) -> None:
    rng = random.Random(7)
    fills = [Message(body("character_fill", n, rng), topic="character_fill", id=f"f{n}") for n in range(20)]
    store(database, *(Message(body("instance_store", n, rng), topic="instance_store", id=f"i{n}") for n in range(20)))
    fill = CharacterFill(database, pseudonym_rounds=1)
    for message in fills:
        fill(message)
    fill.close()
    crawls = [Message(body("player_crawl", n, rng), topic="player_crawl", id=f"c{n}") for n in range(20)]
    assert crawl(database, api.url, *crawls) == [None] * 20
    assert read_ledger(database).distinct == {"character_fill": 20, "instance_store": 20, "player_crawl": 20}
