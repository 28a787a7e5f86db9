"""One small database interface over SQLite (a path, the default) and PostgreSQL (a URL, with the extra ``postgres``).

Every statement of the sample is written once, with ``?`` as placeholder, in the dialect the two share. Each thread has
its own connection. SQLite runs in WAL mode with full synchronisation: what is acked to the broker is on the disk.
A SQLite file serves all worker processes of one machine; several machines need PostgreSQL.
"""

from __future__ import annotations

import importlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Database", "Transaction"]

BUSY_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 10

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS handled (topic TEXT NOT NULL, id TEXT NOT NULL, attempt INTEGER NOT NULL,
       at_s DOUBLE PRECISION NOT NULL, times INTEGER NOT NULL, PRIMARY KEY (topic, id))""",
    """CREATE TABLE IF NOT EXISTS published (topic TEXT NOT NULL, id TEXT NOT NULL, parent_topic TEXT NOT NULL,
       parent_id TEXT NOT NULL, player_id BIGINT NOT NULL, PRIMARY KEY (topic, id))""",
    "CREATE INDEX IF NOT EXISTS published_by_parent ON published (parent_topic, parent_id)",
    """CREATE TABLE IF NOT EXISTS instance (id BIGINT PRIMARY KEY, activity TEXT NOT NULL,
       started_s DOUBLE PRECISION NOT NULL, duration_s INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS player (id BIGINT PRIMARY KEY, name TEXT, clan TEXT,
       reports_count INTEGER NOT NULL DEFAULT 0, crawls_count INTEGER NOT NULL DEFAULT 0,
       crawl_requested_at_s DOUBLE PRECISION, crawled_at_s DOUBLE PRECISION)""",
    """CREATE TABLE IF NOT EXISTS appearance (instance_id BIGINT NOT NULL, player_id BIGINT NOT NULL,
       kills INTEGER NOT NULL, deaths INTEGER NOT NULL, assists INTEGER NOT NULL, time_played_s INTEGER NOT NULL,
       PRIMARY KEY (instance_id, player_id))""",
    """CREATE TABLE IF NOT EXISTS character (id BIGINT PRIMARY KEY, player_id BIGINT NOT NULL, class TEXT NOT NULL,
       pseudonym TEXT NOT NULL, fills_count INTEGER NOT NULL DEFAULT 0)""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dialect:
    connect: Callable[[], Any]
    placeholder: str
    begin_write: str
    begin_read: str
    lock_schema: str
    write_turn: AbstractContextManager[Any]


class Transaction:
    """Statements that become visible together, or not at all."""

    __slots__ = ("_connection", "_placeholder")

    def __init__(self, connection: Any, placeholder: str) -> None:
        self._connection = connection
        self._placeholder = placeholder

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement; the rows it returns, if any."""
        cursor = self._connection.execute(sql.replace("?", self._placeholder), values)
        return list(cursor.fetchall()) if cursor.description else []

    def run_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement per row of values."""
        self._connection.cursor().executemany(sql.replace("?", self._placeholder), rows)


class Database:
    """The rows of the sample. ``address`` is the path of a SQLite file or a ``postgresql://`` URL.

    Thread-safe. Tables are made when missing, by several processes at once if need be. Raises ``ValueError`` for
    another kind of URL, ``ImportError`` when PostgreSQL is asked for and its driver is not installed.
    """

    def __init__(self, address: str) -> None:
        self._dialect = _dialect(address)
        self._here = threading.local()
        self._connections: list[Any] = []
        with self.transaction() as transaction:
            transaction.run(self._dialect.lock_schema)
            for statement in _SCHEMA:
                transaction.run(statement)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and write; commits at the end, rolls back when the block raises."""
        with self._dialect.write_turn, self._run(self._dialect.begin_write) as transaction:
            yield transaction

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Read only: all statements see one moment, and no writer waits."""
        with self._run(self._dialect.begin_read) as transaction:
            yield transaction

    def close(self) -> None:
        """Close the connections of all threads; none may be inside a transaction."""
        while self._connections:
            self._connections.pop().close()
        self._here = threading.local()

    @contextmanager
    def _run(self, begin: str) -> Iterator[Transaction]:
        connection = self._connection()
        try:
            connection.execute(begin)
            yield Transaction(connection, self._dialect.placeholder)
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise

    def _connection(self) -> Any:
        connection = getattr(self._here, "connection", None)
        if connection is None:
            connection = self._here.connection = self._dialect.connect()
            self._connections.append(connection)
        return connection

    def _roll_back(self, connection: Any) -> None:
        try:
            connection.execute("ROLLBACK")
        except Exception:  # the connection is lost, or BEGIN itself failed: the next transaction opens a new one
            self._here.connection = None
            self._connections.remove(connection)
            with suppress(Exception):
                connection.close()


def _dialect(address: str) -> _Dialect:
    if address.startswith(("postgresql://", "postgres://")):
        return _postgres(address)
    if "://" in address:
        scheme = address.partition("://")[0]
        raise ValueError(f"database must be the path of a SQLite file or a postgresql:// URL, not a {scheme}:// URL")
    return _sqlite(Path(address).expanduser())


def _sqlite(path: Path) -> _Dialect:
    def connect() -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except sqlite3.OperationalError as error:  # whose text does not say which file
            raise sqlite3.OperationalError(f"{error}: {path}") from error
        _enter_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    return _Dialect(
        connect=connect,
        placeholder="?",
        begin_write="BEGIN IMMEDIATE",  # a read lock that has to grow fails at once when another grew first
        begin_read="BEGIN",
        lock_schema="SELECT 1",
        write_turn=threading.Lock(),  # the threads of a process take turns here: SQLite's own wait is a sleep
    )


def _enter_wal(connection: sqlite3.Connection) -> None:
    """Switching the mode ignores the busy timeout, so that the first workers of a new file would fail each other."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


def _postgres(url: str) -> _Dialect:
    try:
        psycopg = importlib.import_module("psycopg")
    except ImportError as error:
        raise ImportError("a PostgreSQL database needs its driver: pip install 'hermes_ray[postgres]'") from error
    return _Dialect(
        connect=lambda: psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S),
        placeholder="%s",
        begin_write="BEGIN",
        begin_read="BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        lock_schema="SELECT pg_advisory_xact_lock(20240501)",  # IF NOT EXISTS alone fails when two create at once
        write_turn=nullcontext(),
    )
