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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hermes_ray.broker.outgoing import encode_headers
from hermes_ray.cli.reach import need_topic
from hermes_ray.cli.working_directory import import_from_here, load_here
from hermes_ray.config.loading import parse_command
from hermes_ray.config.sentences import nearest
from hermes_ray.config.settings import Config
from hermes_ray.errors import OperationFailed, PermanentError, UserMistake
from hermes_ray.message import Message
from hermes_ray.outcome import Publish
from hermes_ray.worker.handlers import Handler

__all__ = ["attempt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What became of the message; ``error`` is what the handler raised."""

    took_s: float
    error: BaseException | None
    publishes: Sequence[Publish]
    is_last_attempt: bool

    @property
    def name(self) -> str:
        if self.error is None:
            return "handled"
        return "dead_letter" if self.is_last_attempt or isinstance(self.error, PermanentError) else "retry"


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
            outcome = _handle(runner, handler, message, is_last_attempt=chosen.retry.max_attempts == 1)
        if as_json:
            click.echo(json.dumps(_json_tree(outcome, handler), default=str))
        else:
            _print_outcome(outcome, handler)
        with printing_apart():
            _close(runner, handler)
    return 0 if outcome.error is None else 1


def _message(config: Config, topic: str, body: bytes, headers: Mapping[str, Any]) -> Message:
    def check(to: str | None, with_headers: Mapping[str, Any]) -> bytes:
        if to is not None and to not in config.topics:
            raise ValueError(f"this deployment has no topic {to!r} to publish to: {nearest(to, config.topics)}")
        return encode_headers(with_headers)

    now_s = time.time()
    return Message(body, topic=topic, id=str(uuid.uuid4()), headers=headers, published_at_s=now_s, check=check)


def _handle(runner: asyncio.Runner, handler: Handler, message: Message, *, is_last_attempt: bool) -> _Outcome:
    started_s = time.monotonic()
    error = runner.run(_awaited(lambda: handler.call(message))) if handler.is_async else _called(handler.call, message)
    took_s = time.monotonic() - started_s
    publishes = message.publishes if error is None else ()
    return _Outcome(took_s=took_s, error=error, publishes=publishes, is_last_attempt=is_last_attempt)


def _called(handle: Callable[[Message], Any], message: Message) -> BaseException | None:
    try:
        if inspect.isawaitable(handle(message)):
            raise TypeError("the handler returned an awaitable nobody awaits: make it an async function")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # as a worker does
        return error
    return None


async def _awaited(begin: Callable[[], Awaitable[Any]]) -> BaseException | None:
    try:
        await begin()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # here: an event loop lets SystemExit through and stops
        return error
    return None


def _close(runner: asyncio.Runner, handler: Handler) -> None:
    error: BaseException | None = None
    try:
        result = handler.close()
        if inspect.isawaitable(result):
            error = runner.run(_awaited(lambda: result))
    except KeyboardInterrupt:
        raise
    except BaseException as raised:
        error = raised
    if error is not None:
        raise OperationFailed(f"the close of {handler.name} raised {_sentence(error, handler)}") from None


def _print_outcome(outcome: _Outcome, handler: Handler) -> None:
    error = outcome.error
    if error is None:
        click.echo(f"handled in {_milliseconds(outcome.took_s)} ms")
        for publish in outcome.publishes:
            click.echo(f"would {_place(publish)}: {_text(publish.body)}")
    else:
        click.echo(_trace(error, handler), nl=False, err=True)
        fate = {"retry": "retried", "dead_letter": "dead-lettered"}[outcome.name]
        click.echo(f"raised {_sentence(error, handler)}, which would be {fate}")


def _json_tree(outcome: _Outcome, handler: Handler) -> dict[str, Any]:
    error = outcome.error
    return {
        "outcome": outcome.name,
        "took_s": outcome.took_s,
        "publishes": [
            {"topic": publish.topic, "body": _text(publish.body), "headers": _readable(publish.headers)}
            | ({} if publish.topic is not None else {"reply_to": publish.reply_to})
            for publish in outcome.publishes
        ],
        "error": None if error is None else _sentence(error, handler),
        "traceback": None if error is None else _trace(error, handler),
    }


def _trace(error: BaseException, handler: Handler) -> str:
    """The traceback without its first frame, which is of this file and tells the handler's author nothing."""
    ours = error.__traceback__
    return _printable(handler.trace_of(error.with_traceback(ours and ours.tb_next)))


def _sentence(error: BaseException, handler: Handler) -> str:
    return _printable(handler.sentence_of(error))


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
