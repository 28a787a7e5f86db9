"""``player_crawl``: fetch a player's profile from a slow, rate-limited API. Waits much, computes little: many slots."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from hermes_ray import Message, PermanentError
from hermes_ray.samples.raidhub.batch_writer import BatchWriter
from hermes_ray.samples.raidhub.database import Database, Transaction
from hermes_ray.samples.raidhub.fields import identifier, mapping
from hermes_ray.samples.raidhub.http_client import HttpClient, Response
from hermes_ray.samples.raidhub.ledger import is_first, key_of

__all__ = ["ApiUnavailable", "PlayerCrawl", "RateLimited"]

RETRY_AFTER_DEFAULT_S = 1.0
RETRY_AFTER_MAX_S = 30.0


class RateLimited(Exception):
    """The API answered 429: this message is retried, and the worker sends nothing for ``retry_after_s``."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the API is rate-limited: try again in {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class ApiUnavailable(Exception):
    """The API answered with an error of its own, or nonsense."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crawl:
    topic: str
    key: str
    attempt: int
    player_id: int
    name: str
    clan: str | None


class PlayerCrawl:
    """Records a player's name and clan once per message. A player the API does not know is permanent.

    ``database``: the path of a SQLite file or a ``postgresql://`` URL; ``api``: base URL; ``timeout_s``: for one call.
    """

    def __init__(self, database: str, api: str, timeout_s: float = 10.0) -> None:
        self._api = HttpClient(api, timeout_s=timeout_s)
        self._writer = BatchWriter(Database(database), _record)
        self._quiet_until_s = 0.0

    async def __call__(self, message: Message) -> None:
        player_id = identifier(mapping(message), "player_id")
        await self._respect_rate_limit()
        profile = self._profile(player_id, await self._api.get(f"/players/{player_id}"))
        crawl = _Crawl(
            topic=message.topic,
            key=key_of(message),
            attempt=message.attempt,
            player_id=player_id,
            name=profile["name"],
            clan=profile["clan"],
        )
        await asyncio.wrap_future(self._writer.submit(crawl))

    async def close(self) -> None:
        """Commit what is under way and close the connections."""
        self._api.close()
        await asyncio.to_thread(self._writer.close)

    async def _respect_rate_limit(self) -> None:
        """Wait in all slots after the 429 of one: the API would refuse them too, which costs attempts."""
        if (wait_s := self._quiet_until_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)

    def _profile(self, player_id: int, response: Response) -> dict[str, Any]:
        if response.status == HTTPStatus.TOO_MANY_REQUESTS:
            limited = RateLimited(_retry_after_s(response))
            self._quiet_until_s = max(self._quiet_until_s, time.monotonic() + limited.retry_after_s)
            raise limited
        if response.status == HTTPStatus.NOT_FOUND:
            raise PermanentError(f"the API knows no player {player_id}")
        if response.status != HTTPStatus.OK:
            raise ApiUnavailable(f"the API answered {response.status}")
        try:
            found = json.loads(response.body)
            return {"name": str(found["name"]), "clan": None if found["clan"] is None else str(found["clan"])}
        except (ValueError, KeyError, TypeError) as error:
            raise ApiUnavailable(f"the API sent no profile: {type(error).__name__}: {error}") from error


def _retry_after_s(response: Response) -> float:
    """Seconds of the Retry-After header, at most 30; 1 without one. Its date form is read as absent."""
    value = response.headers.get("retry-after", "")
    return min(float(value), RETRY_AFTER_MAX_S) if value.isascii() and value.isdigit() else RETRY_AFTER_DEFAULT_S


def _record(transaction: Transaction, crawls: Sequence[_Crawl]) -> None:
    """First all ledger rows, then all player rows, each in order: no two workers' batches can deadlock."""
    in_order = sorted(crawls, key=lambda crawl: (crawl.topic, crawl.key))
    new = [crawl for crawl in in_order if is_first(transaction, crawl.topic, crawl.key, crawl.attempt)]
    now_s = time.time()
    transaction.run_many(
        """INSERT INTO player (id, name, clan, crawls_count, crawled_at_s) VALUES (?, ?, ?, 1, ?)
           ON CONFLICT (id) DO UPDATE SET name = excluded.name, clan = excluded.clan,
           crawls_count = player.crawls_count + 1, crawled_at_s = excluded.crawled_at_s""",
        [(c.player_id, c.name, c.clan, now_s) for c in sorted(new, key=lambda crawl: crawl.player_id)],
    )
