"""``instance_store``: a game report becomes rows. Fast, and of the largest weight: an unstored report is lost."""

from __future__ import annotations

from dataclasses import dataclass

from hermes_ray import Message
from hermes_ray.samples.raidhub.database import Database, Transaction
from hermes_ray.samples.raidhub.fields import identifier, instant, items, mapping, number, text
from hermes_ray.samples.raidhub.ledger import is_first, key_of

__all__ = ["InstanceStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Player:
    id: int
    name: str
    kills: int
    deaths: int
    assists: int
    time_played_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    instance_id: int
    activity: str
    started_s: float
    duration_s: int
    players: tuple[_Player, ...]


class InstanceStore:
    """Stores a game report once, however often it is delivered. Thread-safe; a report that makes no sense is permanent.

    ``database``: the path of a SQLite file or a ``postgresql://`` URL.
    """

    def __init__(self, database: str) -> None:
        self._database = Database(database)

    def __call__(self, message: Message) -> None:
        report = _parse(message)
        with self._database.transaction() as transaction:
            if is_first(transaction, message.topic, key_of(message), message.attempt):
                _store(transaction, report)

    def close(self) -> None:
        """Close the database connections."""
        self._database.close()


def _parse(message: Message) -> _Report:
    fields = mapping(message)
    players = {
        identifier(line, "player_id"): _Player(
            id=identifier(line, "player_id"),
            name=text(line, "name"),
            kills=number(line, "kills"),
            deaths=number(line, "deaths"),
            assists=number(line, "assists"),
            time_played_s=number(line, "time_played_s"),
        )
        for line in items(fields, "players")
    }
    return _Report(
        instance_id=identifier(fields, "instance_id"),
        activity=text(fields, "activity"),
        started_s=instant(fields, "started"),
        duration_s=number(fields, "duration_s"),
        players=tuple(players[id] for id in sorted(players)),  # one order for all workers: row locks cannot deadlock
    )


def _store(transaction: Transaction, report: _Report) -> None:
    transaction.run(
        """INSERT INTO instance (id, activity, started_s, duration_s) VALUES (?, ?, ?, ?)
           ON CONFLICT (id) DO UPDATE SET activity = excluded.activity, started_s = excluded.started_s,
           duration_s = excluded.duration_s""",
        report.instance_id,
        report.activity,
        report.started_s,
        report.duration_s,
    )
    transaction.run_many(
        """INSERT INTO player (id, name, reports_count) VALUES (?, ?, 1)
           ON CONFLICT (id) DO UPDATE SET name = excluded.name, reports_count = player.reports_count + 1""",
        [(player.id, player.name) for player in report.players],
    )
    transaction.run_many(
        """INSERT INTO appearance (instance_id, player_id, kills, deaths, assists, time_played_s)
           VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (instance_id, player_id) DO UPDATE SET kills = excluded.kills, deaths = excluded.deaths,
           assists = excluded.assists, time_played_s = excluded.time_played_s""",
        [(report.instance_id, p.id, p.kills, p.deaths, p.assists, p.time_played_s) for p in report.players],
    )
