"""Worker processes and their slots on one SQLite file: nothing is lost, repeats count once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from hermes_ray.samples.raidhub import read_ledger
from hermes_ray.samples.raidhub.batch_writer import BatchWriter
from hermes_ray.samples.raidhub.database import Database, Transaction
from tests.support.patience import PATIENCE

PROCESSES, THREADS, OWN, SHARED = 4, 4, 60, 40

WORKER = """
import sys, random
from concurrent.futures import ThreadPoolExecutor
from hermes_ray import Message
from hermes_ray.samples.raidhub import InstanceStore, body
database, own, shared, threads, me = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
handler = InstanceStore(database)
def handle(job):
    id, n = job
    handler(Message(body("instance_store", n, random.Random(n)), topic="instance_store", id=id))
jobs = [(f"shared-{n}", n) for n in range(shared)] + [(f"{me}-{n}", 1000 * (int(me) + 1) + n) for n in range(own)]
random.Random(me).shuffle(jobs)
with ThreadPoolExecutor(threads) as pool:
    list(pool.map(handle, jobs))
handler.close()
"""


def test_four_processes_with_four_threads_each_lose_nothing_and_count_repeats_once(tmp_path: Path) -> None:
    database = str(tmp_path / "raidhub.sqlite")  # made by all four at the same time
    arguments = [database, str(OWN), str(SHARED), str(THREADS)]
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, *arguments, str(me)]) for me in range(PROCESSES)]
    assert [worker.wait(timeout=PATIENCE * 60) for worker in workers] == [0] * PROCESSES

    ledger = read_ledger(database)
    assert ledger.handled == {"instance_store": PROCESSES * (OWN + SHARED)}
    assert ledger.distinct == {"instance_store": PROCESSES * OWN + SHARED}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM instance").fetchone() == (PROCESSES * OWN + SHARED,)
        reports, appearances = connection.execute(
            "SELECT (SELECT sum(reports_count) FROM player), (SELECT count(*) FROM appearance)"
        ).fetchone()
    assert reports == appearances > PROCESSES * OWN


def test_a_transaction_that_raises_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "raidhub.sqlite"))

    def fail_half_way() -> None:
        with database.transaction() as transaction:
            transaction.run("INSERT INTO player (id) VALUES (?)", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.transaction() as transaction:
        assert transaction.run("SELECT count(*) FROM player") == [(0,)]
    database.close()


def test_a_snapshot_reads_while_another_thread_writes(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "raidhub.sqlite"))

    def count() -> int:
        with database.snapshot() as transaction:
            return int(transaction.run("SELECT count(*) FROM player")[0][0])

    with ThreadPoolExecutor(1) as other, database.transaction() as transaction:
        transaction.run("INSERT INTO player (id) VALUES (?)", 1)
        assert other.submit(count).result(timeout=30) == 0
    assert count() == 1
    database.close()


def add_players(transaction: Transaction, ids: Sequence[int]) -> None:
    transaction.run_many("INSERT INTO player (id) VALUES (?)", [(id,) for id in ids])


def test_a_writer_commits_together_what_gathers_while_it_is_busy(tmp_path: Path) -> None:
    busy, go_on, sizes = threading.Event(), threading.Event(), []

    def write(transaction: Transaction, ids: Sequence[int]) -> None:
        sizes.append(len(ids))
        busy.set()
        assert go_on.wait(PATIENCE * 5)
        add_players(transaction, ids)

    writer = BatchWriter(Database(str(tmp_path / "raidhub.sqlite")), write)
    first = writer.submit(0)
    assert busy.wait(PATIENCE * 5)
    others = [writer.submit(n) for n in range(1, 50)]
    cancelled = writer.submit(99)
    assert cancelled.cancel()
    go_on.set()
    for done in (first, *others):
        done.result(timeout=30)
    writer.close()
    assert sizes == [1, 49]


def test_one_bad_item_fails_alone_and_the_rest_of_its_batch_is_written(tmp_path: Path) -> None:
    path = tmp_path / "raidhub.sqlite"
    busy, go_on = threading.Event(), threading.Event()

    def write(transaction: Transaction, ids: Sequence[int]) -> None:
        busy.set()
        assert go_on.wait(PATIENCE * 5)
        add_players(transaction, ids)

    writer = BatchWriter(Database(str(path)), write)
    jobs = [writer.submit(1)]
    assert busy.wait(PATIENCE * 5)
    jobs += [writer.submit(id) for id in (2, 1, 3)]
    go_on.set()
    assert [type(job.exception(timeout=30)) for job in jobs] == [
        type(None),
        type(None),
        sqlite3.IntegrityError,
        type(None),
    ]
    writer.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM player ORDER BY id").fetchall() == [(1,), (2,), (3,)]


def test_closing_a_writer_commits_what_was_submitted(tmp_path: Path) -> None:
    path = tmp_path / "raidhub.sqlite"
    writer = BatchWriter(Database(str(path)), add_players)
    jobs = [writer.submit(n) for n in range(1000)]
    writer.close()
    assert all(job.done() for job in jobs)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM player").fetchone() == (1000,)
