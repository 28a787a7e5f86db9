"""``character_fill``: complete the characters of a report. Some CPU, some database, and work for another topic."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hermes_ray import Message
from hermes_ray.samples.raidhub.database import Database, Transaction
from hermes_ray.samples.raidhub.fields import choice, identifier, items, mapping
from hermes_ray.samples.raidhub.ledger import is_first, key_of

__all__ = ["CharacterFill"]

CRAWL_TOPIC = "player_crawl"
CLASSES = frozenset({"hunter", "titan", "warlock"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Character:
    id: int
    player_id: int
    class_name: str
    pseudonym: str


class CharacterFill:
    """Stores characters once, and asks for a crawl of each player nobody has asked for yet. Thread-safe.

    ``database``: the path of a SQLite file or a ``postgresql://`` URL; ``pseudonym_rounds``: of the slow hash which
    names a character in public exports; 20,000 take about 4 ms of CPU.
    """

    def __init__(self, database: str, pseudonym_rounds: int = 20_000) -> None:
        self._database = Database(database)
        self._pseudonym_rounds = pseudonym_rounds

    def __call__(self, message: Message) -> None:
        characters = _parse(message, self._pseudonym_rounds)
        key = key_of(message)
        with self._database.transaction() as transaction:
            if is_first(transaction, message.topic, key, message.attempt):
                _store(transaction, characters)
                for player_id in _claim_unknown(transaction, {character.player_id for character in characters}):
                    _publish_crawl(message, player_id)
                    _note_published(transaction, message, key, player_id)
                return
            again = transaction.run(
                "SELECT player_id FROM published WHERE parent_topic = ? AND parent_id = ? ORDER BY player_id",
                message.topic,
                key,
            )
        # The first run may have died between its commit and its confirms: the same bodies give the same ids.
        for (player_id,) in again:
            _publish_crawl(message, player_id)

    def close(self) -> None:
        """Close the database connections."""
        self._database.close()


def _parse(message: Message, rounds: int) -> list[_Character]:
    characters = {}
    for fields in items(mapping(message), "characters"):
        id = identifier(fields, "character_id")
        characters[id] = _Character(
            id=id,
            player_id=identifier(fields, "player_id"),
            class_name=choice(fields, "class", CLASSES),
            pseudonym=hashlib.pbkdf2_hmac("sha256", b"%d" % id, b"raidhub", rounds, dklen=8).hex(),
        )
    return [characters[id] for id in sorted(characters)]  # one order for all workers: row locks cannot deadlock


def _store(transaction: Transaction, characters: Sequence[_Character]) -> None:
    transaction.run_many(
        """INSERT INTO character (id, player_id, class, pseudonym, fills_count) VALUES (?, ?, ?, ?, 1)
           ON CONFLICT (id) DO UPDATE SET player_id = excluded.player_id, class = excluded.class,
           pseudonym = excluded.pseudonym, fills_count = character.fills_count + 1""",
        [(c.id, c.player_id, c.class_name, c.pseudonym) for c in characters],
    )


def _claim_unknown(transaction: Transaction, player_ids: set[int]) -> list[int]:
    """Those never crawled nor asked for; they count as asked for from now on."""
    return [
        player_id
        for player_id in sorted(player_ids)
        if transaction.run(
            """INSERT INTO player (id, crawl_requested_at_s) VALUES (?, ?)
               ON CONFLICT (id) DO UPDATE SET crawl_requested_at_s = excluded.crawl_requested_at_s
               WHERE player.crawl_requested_at_s IS NULL AND player.crawled_at_s IS NULL RETURNING id""",
            player_id,
            time.time(),
        )
    ]


def _publish_crawl(message: Message, player_id: int) -> None:
    message.publish(CRAWL_TOPIC, {"player_id": str(player_id)})


def _note_published(transaction: Transaction, message: Message, key: str, player_id: int) -> None:
    transaction.run(
        "INSERT INTO published (topic, id, parent_topic, parent_id, player_id) VALUES (?, ?, ?, ?, ?)",
        CRAWL_TOPIC,
        message.publishes[-1].id,
        message.topic,
        key,
        player_id,
    )
