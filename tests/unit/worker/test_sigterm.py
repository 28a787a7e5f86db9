"""SIGTERM to a worker's process, and to children that its handlers fork."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.support.live import ROOT
from tests.support.patience import PATIENCE

PROCESS = """
import multiprocessing, os, signal, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from hermes_ray.worker.sigterm import on_sigterm

drained = Event()
on_sigterm(drained.set)
fork = multiprocessing.get_context("fork")

def own(number, frame):
    pass

def fork_again():
    signal.signal(signal.SIGTERM, own)
    files = os.pipe()  # with the numbers of the worker's pipe
    if child := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os._exit(0 if signal.getsignal(signal.SIGTERM) is own and all(map(os.fstat, files)) else 1)

def terminated():
    child = fork.Process(target=time.sleep, args=(600,))
    child.start()
    child.terminate()
    child.join(60)
    return child.exitcode

def pooled():
    with fork.Pool(2) as pool:
        return pool.map(abs, [-1, 1])

def forked_twice():
    child = fork.Process(target=fork_again)
    child.start()
    child.join(60)
    return child.exitcode

def started_after_one():
    terminated()
    program = subprocess.Popen(["sleep", "600"])
    program.terminate()
    try:
        return program.wait(60)
    finally:
        program.kill()

with ThreadPoolExecutor(1) as slot:  # as handlers run
    print(slot.submit(locals()[sys.argv[1]]).result(), flush=True)
print("draining" if drained.wait(0.1) else "at work", flush=True)
print(drained.wait(60), flush=True)
"""


@pytest.mark.parametrize(
    ("way", "result"),
    [
        ("terminated", str(-signal.SIGTERM)),
        ("pooled", "[1, 1]"),
        ("forked_twice", "0"),
        ("started_after_one", str(-signal.SIGTERM)),
    ],
)
def test_a_child_that_a_handler_forks_ends_by_sigterm_and_the_worker_drains_by_its_own_alone(
    way: str, result: str
) -> None:
    with subprocess.Popen([sys.executable, "-c", PROCESS, way], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == f"{result}\n"
            assert process.stdout.readline() == "at work\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "True\n"
            assert process.wait(PATIENCE * 60) == 0
        finally:
            process.kill()
