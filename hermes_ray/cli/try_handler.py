"""``hermes try``: one message through a topic's handler, here and now: no broker, no Ray."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import sys
import time
import uuid
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from types import CoroutineType
from typing import Any

import click

from hermes_ray.broker.outgoing import encode_headers
from hermes_ray.cli.reach import need_topic
from hermes_ray.cli.working_directory import import_from_here, load_here
from hermes_ray.config.loading import parse_command
from hermes_ray.config.sentences import nearest
from hermes_ray.config.settings import Config
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.message import Message
from hermes_ray.outcome import DeadLetter, Publish, Retry
from hermes_ray.worker.handlers import Handler
from hermes_ray.worker.results import is_unfinished, result_of
from hermes_ray.worker.slot import failure

__all__ = ["attempt"]

_OURS = (__file__, result_of.__code__.co_filename)  # files whose frames tell a handler's author nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What became of the message; ``failure`` is what a worker would make of what was raised."""

    took_s: float
    failure: Retry | DeadLetter | None
    publishes: Sequence[Publish]
    is_last: bool

    @property
    def outcome(self) -> str:
        if self.failure is None:
            return "handled"
        return "dead_letter" if self.is_last or isinstance(self.failure, DeadLetter) else "retry"


def attempt(words: Sequence[str], body: str, headers: str | None, as_json: bool) -> int:
    """Handle one message with ``body`` (``@FILE`` reads one) as the topic's workers would; 0 if it was handled."""
    topic, rest = need_topic("try", words)
    config = parse_command(rest).config
    if topic not in config.topics:
        raise UserMistake(f"the configuration has no topic {topic}: {nearest(topic, config.topics)}")
    message = _message(config, topic, _body(body), _headers(headers))
    chosen = config.topics[topic]
    import_from_here()

    def printing_apart() -> contextlib.AbstractContextManager[object]:
        return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()

    with asyncio.Runner() as runner:  # one loop from the call to the close, as in a worker
        with printing_apart():
            handler = load_here(chosen.handler, chosen.options)
            done = _handle(runner, handler, message, is_last=chosen.retry.max_attempts == 1)
        if as_json:
            click.echo(json.dumps(_json_tree(done), default=str))
        else:
            _print(done)
        with printing_apart():
            _close(runner, handler)
    return 0 if done.failure is None else 1


def _message(config: Config, topic: str, body: bytes, headers: Mapping[str, Any]) -> Message:
    def check(to: str | None, with_headers: Mapping[str, Any]) -> bytes:
        if to is not None and to not in config.topics:
            raise ValueError(f"this deployment has no topic {to!r} to publish to: {nearest(to, config.topics)}")
        return encode_headers(with_headers)

    now_s = time.time()
    return Message(body, topic=topic, id=str(uuid.uuid4()), headers=headers, published_at_s=now_s, check=check)


def _handle(runner: asyncio.Runner, handler: Handler, message: Message, *, is_last: bool) -> _Attempt:
    started_s = time.monotonic()
    error = _raised(runner, handler, message)
    message.seal()
    took_s = time.monotonic() - started_s
    if error is None:
        return _Attempt(took_s=took_s, failure=None, publishes=message.publishes, is_last=is_last)
    failed = failure(_without_our_frames(error), handler)
    return _Attempt(took_s=took_s, failure=failed, publishes=(), is_last=is_last)


def _raised(runner: asyncio.Runner, handler: Handler, message: Message) -> BaseException | None:
    """What comes of a call and of the work that it returns: of one that is not async outside the loop, as in a slot."""
    if handler.is_async:
        return runner.run(_raised_in(_awaited(handler, message)))
    try:
        result = handler.call(message)
        if not is_unfinished(result):
            return None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as a worker does
        return error
    return runner.run(_raised_in(result_of(result)), context=copy_context())


async def _awaited(handler: Handler, message: Message) -> None:
    made = handler.call(message)
    result = await (made if isinstance(made, CoroutineType) else result_of(made))
    if is_unfinished(result):
        await result_of(result)


async def _raised_in(work: Awaitable[Any]) -> BaseException | None:
    try:
        await work
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # here: an event loop lets SystemExit through and stops
        return error
    return None


def _without_our_frames(error: BaseException) -> BaseException:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in _OURS:
        frames = frames.tb_next
    return BaseException.with_traceback(error, frames)


def _close(runner: asyncio.Runner, handler: Handler) -> None:
    error: BaseException | None = None
    try:
        result = handler.close()
        if inspect.isawaitable(result):
            error = runner.run(_raised_in(result_of(result)))
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        error = raised
    if error is not None:
        said = _printable(handler.sentence_of(error))
        raise OperationFailed(f"the close of {handler.name} raised {said}") from None


def _print(done: _Attempt) -> None:
    if done.failure is None:
        click.echo(f"handled in {_milliseconds(done.took_s)} ms")
        for publish in done.publishes:
            click.echo(f"would {_place(publish)}: {_text(publish.body)}")
    else:
        click.echo(_printable(done.failure.traceback), nl=False, err=True)
        fate = {"retry": "retried", "dead_letter": "dead-lettered"}[done.outcome]
        click.echo(f"raised {_printable(done.failure.error)}, which would be {fate}")


def _json_tree(done: _Attempt) -> dict[str, Any]:
    failed = done.failure
    return {
        "outcome": done.outcome,
        "took_s": done.took_s,
        "publishes": [
            {"topic": publish.topic, "body": _text(publish.body), "headers": _readable(publish.headers)}
            | ({} if publish.topic is not None else {"reply_to": publish.reply_to})
            for publish in done.publishes
        ],
        "error": None if failed is None else _printable(failed.error),
        "traceback": None if failed is None else _printable(failed.traceback),
    }


def _place(publish: Publish) -> str:
    return f"reply to {publish.reply_to}" if publish.topic is None else f"publish to {publish.topic}"


def _printable(text: str) -> str:
    """``text`` with each lone surrogate escaped, for which print would raise ``UnicodeEncodeError``."""
    return _text(text.encode("utf-8", "backslashreplace"))


def _milliseconds(seconds: float) -> str:
    """Three digits at most below a second."""
    return f"{seconds * 1000:.3g}" if seconds < 1 else f"{seconds * 1000:.0f}"


def _text(body: bytes) -> str:
    return body.decode("utf-8", "backslashreplace")


def _readable(part: Any) -> Any:
    """``part`` of an AMQP table with text for bytes, which it may have as keys too."""
    if isinstance(part, Mapping):
        return {_readable(key): _readable(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_readable(value) for value in part]
    return _text(part) if isinstance(part, bytes) else part


def _body(given: str) -> bytes:
    if not given.startswith("@"):
        return os.fsencode(given)
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise UserMistake(f"--body {given} cannot be read ({error.strerror}): give the path of a file") from error


def _headers(given: str | None) -> dict[str, Any]:
    try:
        headers = {} if given is None else json.loads(given)
    except (ValueError, RecursionError) as error:
        raise UserMistake(f'--headers is not JSON ({error}): write an object such as \'{{"tenant": "a"}}\'') from error
    if not isinstance(headers, dict):
        raise UserMistake('--headers is no JSON object: write one such as \'{"tenant": "a"}\'')
    return headers
