"""Which messages were handled, and how often: at-least-once deliveries made visible as exactly-once effects."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from hermes_ray import Message
from hermes_ray.samples.raidhub.database import Database, Transaction

__all__ = ["Ledger", "is_first", "key_of", "read_ledger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """The ledger at one moment, by topic.

    ``handled`` counts handler runs that committed, repeats included; ``ids`` are the distinct messages among them;
    ``published`` are the ids handlers asked to publish to that topic. A topic without any is absent.
    """

    handled: Mapping[str, int]
    ids: Mapping[str, frozenset[str]]
    published: Mapping[str, frozenset[str]]

    @property
    def distinct(self) -> Mapping[str, int]:
        """Distinct messages handled; ``handled[t] - distinct[t]`` is how many runs were repeats."""
        return {topic: len(ids) for topic, ids in self.ids.items()}


def key_of(message: Message) -> str:
    """The message's id, or a digest of its body: a foreign message has no id on its first attempt."""
    return message.id or "body-" + hashlib.blake2b(message.body, digest_size=16).hexdigest()


def is_first(transaction: Transaction, topic: str, key: str, attempt: int) -> bool:
    """Count one handling of the message; false when its effects are in the database already.

    The key is (topic, id), not the id alone: an exchange can route one message to two queues. The row stays locked
    until the transaction ends, so that two workers with the same message take turns.
    """
    rows = transaction.run(
        """INSERT INTO handled (topic, id, attempt, at_s, times) VALUES (?, ?, ?, ?, 1)
           ON CONFLICT (topic, id) DO UPDATE SET times = handled.times + 1 RETURNING times""",
        topic,
        key,
        attempt,
        time.time(),
    )
    return bool(rows[0][0] == 1)


def read_ledger(database: str) -> Ledger:
    """Read the ledger of the database at that path or URL while workers go on writing."""
    store = Database(database)
    try:
        with store.snapshot() as transaction:
            counts = transaction.run("SELECT topic, sum(times) FROM handled GROUP BY topic")
            handled_ids = transaction.run("SELECT topic, id FROM handled")
            published_ids = transaction.run("SELECT topic, id FROM published")
    finally:
        store.close()
    handled = {str(topic): int(times) for topic, times in counts}
    return Ledger(handled=handled, ids=_by_topic(handled_ids), published=_by_topic(published_ids))


def _by_topic(rows: list[tuple[str, str]]) -> dict[str, frozenset[str]]:
    ids: dict[str, set[str]] = {}
    for topic, id in rows:
        ids.setdefault(topic, set()).add(id)
    return {topic: frozenset(found) for topic, found in ids.items()}
