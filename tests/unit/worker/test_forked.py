"""Children that handlers fork: however one leaves its handler, it ends, and handles no message of its parent's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.live import ROOT
from tests.support.patience import PATIENCE

PROCESS = """
import asyncio, multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from tests.support.ledger import until
from tests.support.slot_rig import Rig

parent = os.getpid()

def leave(way):
    print("said")  # which is in a buffer now
    if way == b"exits":
        sys.exit(3)
    if way == b"exits with words":
        sys.exit("no way with canary")
    if way == b"raises":
        raise ValueError("no end with canary")

def fork(message):
    os.write(1, message.body + (b": " if os.getpid() == parent else b" in a child\\n"))
    child = os.fork()
    if child == 0:
        return leave(message.body)
    ended = []
    try:
        until(lambda: ended.extend(os.waitpid(child, os.WNOHANG)) or ended[-2], "the child has ended")
    except AssertionError:
        os.kill(child, 9)
        raise
    os.write(1, b"code %d\\n" % os.waitstatus_to_exitcode(ended[-1]))

async def fork_later(message):
    fork(message)

async def in_thread(message):
    await asyncio.to_thread(fork, message)

async def returned(message):
    return [fork_later(message)]

def wrapped(message):
    return fork_later(message)

async def task(message):
    await asyncio.create_task(fork_later(message))

async def waits(message):
    fork(message)
    await asyncio.sleep(0)

def process(message):
    child = multiprocessing.get_context("fork").Process(target=sys.exit, args=(3,))
    child.start()
    child.join(20)
    os.write(1, b"%b: code %d\\n" % (message.body, child.exitcode))

def pool(message):
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as executor:
        os.write(1, b"%b: %d\\n" % (message.body, executor.submit(abs, -1).result()))

kind, *bodies = sys.argv[1:]
outcomes = Rig(globals()[kind], options={"password": "canary"}).handle(*map(str.encode, bodies))
sys.exit(None if outcomes == [None] * len(bodies) else str(outcomes))
"""


def handled(kind: str, *bodies: str) -> tuple[list[str], list[str]]:
    """What a process with a handler of this kind says of messages with these bodies, on stdout and stderr."""
    # From Python 3.12 on a fork beside threads warns: they are what this is about.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PROCESS, kind, *bodies]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE * 120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr.splitlines()


@pytest.mark.parametrize("kind", ["fork", "fork_later", "in_thread", "returned", "wrapped"])
def test_a_child_that_leaves_its_handler_ends_as_a_program_does(kind: str) -> None:
    said, told = handled(kind, "returns", "exits", "exits with words", "raises")
    codes = ["returns: said", "code 0", "exits: said", "code 3", "exits with words: said", "code 1"]
    assert said == [*codes, "raises: said", "code 1"]
    assert (told[0], told[-1]) == ("no way with ***", "ValueError: no end with ***")


@pytest.mark.parametrize("kind", ["task", "waits"])
def test_a_child_that_goes_back_to_the_event_loop_ends_there(kind: str) -> None:
    said, told = handled(kind, "returns", "exits")
    assert said == ["returns: said", "code 1", "exits: said", "code 3"]
    assert told == ["a forked child cannot go on in the handlers' event loop, which is its parent's"]


@pytest.mark.parametrize(("kind", "result"), [("process", "code 3"), ("pool", "1")])
def test_what_multiprocessing_forks_ends_by_itself(kind: str, result: str) -> None:
    assert handled(kind, "a", "b")[0] == [f"a: {result}", f"b: {result}"]
