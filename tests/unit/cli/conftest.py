"""``hermes try`` with handlers of all kinds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hermes_ray.cli.main import cli
from tests.support.patience import PATIENCE

HANDLERS = """
import asyncio, contextvars, datetime, os, subprocess, threading
from hermes_ray import PermanentError

def ship(message):
    print("handling")
    for item in message.json()["items"]:
        message.publish("labels", {"item": item}, headers={"tenant": message.headers.get("tenant", "none")})

async def count(message):
    await asyncio.sleep(0)
    if message.json()["n"] < 0:
        raise PermanentError("a negative count stays negative")
    print(message.id is not None, message.attempt, message.topic)

def broken(message):
    message.publish("labels", "never sent")
    raise ValueError("the database is away")

def table(message):
    when = datetime.datetime(2024, 5, 1, 12, 30)
    message.publish("labels", message.body, headers={"at": when, "raw": b"a\\xff", "deep": [{b"k": b"v", "n": 7}]})

def surrogate(message):
    raise ValueError("half a pair: \\ud83d")

def stray(message):
    message.publish("label", "x")

def nowhere(message):
    message.publish(None, "x")

WHO = contextvars.ContextVar("who")

def wrapped(message):
    WHO.set("the wrapper")
    async def inner():
        message.publish("labels", WHO.get())
    return inner()

def lazy(message):
    return (item for item in message.json())

async def deferred(message):
    async def inner():
        raise ValueError("later")
    return [inner()]

def grouped(message):
    raise ExceptionGroup("all", [PermanentError("for good")])

class Late:
    async def __call__(self, message):
        self.message = message

    async def close(self):
        self.message.publish("labels", "too late")

def leaves(message):
    raise SystemExit(3)

class Own(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")

def own(message):
    raise Own("a way out")

async def own_async(message):
    raise Own("a way out")

def mute(message):
    raise Mute

class Unbuilt:
    def __init__(self):
        raise Own("a way out")

    def __call__(self, message):
        pass

class Leaving:
    def __call__(self, message):
        pass

    def close(self):
        raise SystemExit(3)

class LeavingAsync(Leaving):
    async def close(self):
        raise SystemExit(3)

class Store:
    def __init__(self, path):
        self.file = open(path, "w")

    async def __call__(self, message):
        self.loop = asyncio.get_running_loop()
        self.file.write(message.body.decode())

    async def close(self):
        assert asyncio.get_running_loop() is self.loop
        self.file.close()

class Telling:
    def __init__(self, dsn, password):
        self.told = f"{dsn} with {password}"

    def __call__(self, message):
        raise ConnectionError(f"cannot reach {self.told}")

    def close(self):
        raise ConnectionError(f"cannot leave {self.told}")

def odd(message):
    error = SyntaxError("bad")
    error.text, error.lineno = 5, "12"
    raise error

class LeavingBehind:
    def __init__(self, password, way):
        self.password, self.way = password, way

    async def __call__(self, message):
        if self.way == "stops":
            asyncio.get_running_loop().stop()
        else:
            await asyncio.wait([asyncio.create_task(self.leave())])
        await asyncio.sleep(0.01)
        message.publish("labels", "went on")

    async def leave(self):
        raise {"raises": ValueError, "exits": SystemExit}[self.way](f"no database with {self.password}")

async def asks_itself_to_end(message):
    asyncio.current_task().cancel()

def where(message):
    message.publish("labels", threading.current_thread().name)

async def waits(message):
    await asyncio.sleep(60)

def hangs(message):
    threading.Event().wait(60)

class Program:
    def __init__(self):
        self.run()

    def run(self):
        subprocess.run(["echo", "from a program"], check=True)

    def __call__(self, message):
        self.run()
        os.write(1, b"from the descriptor\\n")

    def close(self):
        self.run()

class Talking:
    def __call__(self, message):
        threading.Thread(target=self.talk, daemon=True).start()

    def talk(self):
        while True:
            os.write(1, b"still here\\n")

    def close(self):
        raise RuntimeError("no way out")

class Thorough:
    def __init__(self):
        self.over = threading.Event()

    def __call__(self, message):
        self.over.wait()

    def close(self):
        self.over.wait()

async def waits_in_a_thread(message):
    await asyncio.to_thread(threading.Event().wait)

class Flagged:
    close = False

    def __call__(self, message):
        pass

class BadEnd(Store):
    async def close(self):
        await super().close()
        raise RuntimeError("no way out")
"""


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The module with the handlers above, in the working directory."""
    module = f"tried_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return module


@pytest.fixture
def attempt(handlers: str) -> Callable[..., Result]:
    """``hermes try orders`` with a handler of the file above, and further arguments."""

    def run(handler: str, *arguments: str) -> Result:
        return CliRunner().invoke(cli, _words(handlers, handler, arguments))

    return run


@pytest.fixture
def answer_of(attempt: Callable[..., Result], capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What ``hermes try orders --json`` prints, read."""

    def run(handler: str, *arguments: str) -> Any:
        stdout = os.dup(1)
        try:
            attempt(handler, "--json", *arguments)
        finally:
            os.dup2(stdout, 1)
            os.close(stdout)
        return json.loads(capfd.readouterr().out)

    return run


@pytest.fixture
def attempt_apart(handlers: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """As ``attempt``, in a process of its own."""

    def run(handler: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        hermes = str(Path(sys.executable).with_name("hermes"))
        words = [hermes, *_words(handlers, handler, arguments)]
        return subprocess.run(words, capture_output=True, check=False, text=True, timeout=PATIENCE * 120)

    return run


def _words(module: str, handler: str, arguments: tuple[str, ...]) -> list[str]:
    topics = [f"topics.orders.handler={module}:{handler}", f"topics.labels.handler={module}:count"]
    return ["try", "orders", *topics, *arguments]
