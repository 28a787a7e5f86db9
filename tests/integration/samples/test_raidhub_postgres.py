"""The sample on a real, private PostgreSQL server."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hermes_ray import Message
from hermes_ray.samples.raidhub import CharacterFill, InstanceStore, PlayerCrawl, body, read_ledger
from hermes_ray.samples.raidhub.api import Api
from hermes_ray.samples.raidhub.database import Database
from hermes_ray.samples.raidhub.loads import FIRST_PLAYER_ID
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server on a socket in a directory of its own; yields that directory."""
    programs, user = _programs(), _unprivileged_user()
    home = tempfile.mkdtemp(prefix="raidhub-pg-")
    as_user = _as_user(user)
    if user:
        shutil.chown(home, user.pw_uid, user.pw_gid)
    data = f"{home}/data"
    initdb = [
        *as_user,
        f"{programs}/initdb",
        "-D",
        data,
        "-U",
        "raidhub",
        "-A",
        "trust",
        "-N",
        "--no-locale",
        "-E",
        "UTF8",
    ]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=home)
    postgres = [*as_user, f"{programs}/postgres", "-D", data, "-k", home, "-c", "listen_addresses=", "-c", "fsync=off"]
    with open(f"{home}/log", "wb") as log, subprocess.Popen(postgres, stdout=log, stderr=log, cwd=home) as running:
        try:
            _wait_until_ready(programs, home, running)
            yield home
        finally:
            running.send_signal(signal.SIGINT)  # a fast shutdown: disconnects clients
            running.wait(timeout=PATIENCE * 30)
            shutil.rmtree(home)


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new database."""
    import psycopg

    name = f"t{abs(hash(request.node.name)):x}"
    with psycopg.connect(_url(server, "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return _url(server, name)


def _url(home: str, name: str) -> str:
    return f"postgresql://raidhub@/{name}?host={home}"


def _programs() -> Path:
    found = shutil.which("initdb")
    installed = [Path(found).resolve().parent] if found else []
    installed += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in installed:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    pytest.fail("this test needs a PostgreSQL server: install it, e.g. with apt-get install postgresql", pytrace=False)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    pytest.fail("this test runs PostgreSQL, which refuses root: add a user named postgres", pytrace=False)


def _as_user(user: pwd.struct_passwd | None) -> list[str]:
    if user is None:
        return []
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, "--pdeathsig", "INT"]  # a killed test run leaves no server behind


def _wait_until_ready(programs: Path, home: str, server: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + 30
    ask = [f"{programs}/pg_isready", "-q", "-h", home]
    while subprocess.run(ask, check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline_s:
            pytest.fail(f"PostgreSQL did not start:\n{Path(home, 'log').read_text()[-2000:]}", pytrace=False)
        time.sleep(0.05)


def rows(database: str, sql: str) -> list[tuple[Any, ...]]:
    with closing(Database(database)) as store, store.snapshot() as transaction:
        return transaction.run(sql)


def report_message(n: int) -> Message:
    return Message(body("instance_store", n, random.Random(n)), topic="instance_store", id=f"i{n}")


def test_slots_of_several_workers_store_each_report_once(database: str) -> None:
    with ThreadPoolExecutor(4) as starting:  # the tables are made by all at the same time
        handlers = list(starting.map(lambda _: InstanceStore(database), range(4)))
    jobs = [(handler, n) for handler in handlers for n in random.Random(1).sample(range(100), 100)]
    with ThreadPoolExecutor(16) as slots:
        list(slots.map(lambda job: job[0](report_message(job[1])), jobs))
    for handler in handlers:
        handler.close()
    ledger = read_ledger(database)
    assert (ledger.handled, ledger.distinct) == ({"instance_store": 400}, {"instance_store": 100})
    ((reports, appearances),) = rows(
        database, "SELECT (SELECT sum(reports_count) FROM player), (SELECT count(*) FROM appearance)"
    )
    assert reports == appearances > 100


def test_crawls_of_two_workers_at_once_are_recorded_once_per_message(database: str) -> None:
    async def run(url: str) -> list[BaseException | None]:
        workers = [PlayerCrawl(database, url), PlayerCrawl(database, url)]
        fields = [(f"m{n}", {"player_id": str(FIRST_PLAYER_ID + n % 7)}) for n in range(200)]
        calls = [
            worker(Message(json.dumps(raw).encode(), topic="player_crawl", id=id))
            for worker, seed in zip(workers, (1, 2), strict=True)
            for id, raw in random.Random(seed).sample(fields, len(fields))
        ]
        results = await asyncio.gather(*calls, return_exceptions=True)
        for worker in workers:
            await worker.close()
        return results

    with Api(latency_s=0.01, seed=1) as api:
        results = asyncio.run(run(api.url))
    assert results == [None] * 400
    ledger = read_ledger(database)
    assert (ledger.handled, ledger.distinct) == ({"player_crawl": 400}, {"player_crawl": 200})
    assert rows(database, "SELECT count(*), sum(crawls_count) FROM player") == [(7, 200)]


def test_a_redelivered_fill_publishes_the_same_ids_again(database: str) -> None:
    raw = json.dumps({"characters": [{"character_id": n, "player_id": n, "class": "titan"} for n in (1, 2)]}).encode()
    first, again, other = (Message(raw, topic="character_fill", id=id) for id in ("a", "a", "b"))
    handler = CharacterFill(database, pseudonym_rounds=1)
    for message in (first, again, other):
        handler(message)
    handler.close()
    assert len(first.publishes) == 2
    assert again.publishes == first.publishes
    assert other.publishes == ()
    assert read_ledger(database).published == {"player_crawl": {p.id for p in first.publishes}}


def test_a_lost_connection_fails_one_message_and_the_next_one_works(database: str) -> None:
    handler = InstanceStore(database)
    handler(report_message(1))
    with closing(Database(database)) as other, other.transaction() as transaction:
        transaction.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        handler(report_message(2))
    handler(report_message(2))
    handler.close()
    assert read_ledger(database).distinct == {"instance_store": 2}
