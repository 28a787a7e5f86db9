"""``hermes try``: one message through a topic's handler, here and now: no broker, no Ray."""

from __future__ import annotations

import contextlib
import gc
import inspect
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import click

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import attempt_of, encode_headers, fresh
from hermes_ray.broker.properties import Properties
from hermes_ray.cli.reach import need_topic
from hermes_ray.cli.working_directory import import_from_here, load_here
from hermes_ray.config.loading import parse_command
from hermes_ray.config.sentences import nearest
from hermes_ray.config.settings import Config
from hermes_ray.errors import OperationFailed, UserMistake
from hermes_ray.logs import flush
from hermes_ray.outcome import DeadLetter, Done, Outcome, Publish, Retry
from hermes_ray.worker.handlers import Handler, trouble_at_close
from hermes_ray.worker.loop_slots import LoopSlots
from hermes_ray.worker.standstill import Standstill
from hermes_ray.worker.thread_slots import ThreadSlots
from hermes_ray.worker.time_limits import TimeLimits

__all__ = ["attempt"]

_OURS = tuple(str(Path(inspect.getfile(each)).parent) for each in (LoopSlots, Future))
"""Where files are whose frames, on the way to the handler's, tell its author nothing."""


class _Tried(Handler):
    """A handler whose tracebacks begin with its own frames."""

    def trace_of(self, error: BaseException) -> str:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
            frames = frames.tb_next
        return super().trace_of(BaseException.with_traceback(error, frames))


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
    chosen = config.topics[topic]
    delivery = _delivery(config.queue_of(topic), _body(body), _headers(headers))
    import_from_here()
    apart = _stdout_to_stderr if as_json and sys.stdout is not None else contextlib.nullcontext
    with apart() as answers:
        handler = load_here(chosen.handler, chosen.options)
        tried = _tried(handler)
        slots = _slots(tried, config, topic)
        outcome = _outcome(slots, tried, delivery, chosen.worker.timeout_s)
        _tell_what_is_left()
        done = _Attempt(
            took_s=slots.figures().runs.finished_s,
            failure=outcome if isinstance(outcome, Retry | DeadLetter) else None,
            publishes=outcome.publishes if isinstance(outcome, Done) else (),
            is_last=attempt_of(Properties(delivery.raw)) >= chosen.retry.max_attempts,
        )
        if as_json:
            click.echo(json.dumps(_json_tree(done), default=str), file=answers)
        else:
            _print(done)
        if (trouble := trouble_at_close(tried, slots.run)) is not None:
            raise OperationFailed(_printable(trouble))
    return 0 if done.failure is None else 1


def _delivery(queue: str, body: bytes, headers: Mapping[str, Any]) -> Delivery:
    """As ``hermes publish`` would have the broker send it."""
    try:
        table = encode_headers(headers)
    except ValueError as error:
        raise UserMistake(f"--headers: {error}") from error
    key = queue.encode()
    return Delivery(1, 1, b"\0\0%c%b" % (len(key), key), fresh(queue, body, table=table).properties.raw, body)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[IO[str]]:
    """What leads to stdout. Whatever else writes there, a program of a handler's too, writes to stderr for good."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as answers, contextlib.redirect_stdout(sys.stderr):
        os.dup2(2, 1)
        yield answers


def _tried(handler: Handler) -> _Tried:
    return _Tried(
        call=handler.call,
        is_async=handler.is_async,
        close=handler.close,
        name=handler.name,
        options=handler.options,
    )


def _slots(handler: Handler, config: Config, topic: str) -> LoopSlots | ThreadSlots:
    """One slot, of the kind that a worker has."""

    def check(to: str | None, with_headers: Mapping[str, Any]) -> bytes:
        if to is not None and to not in config.topics:
            raise ValueError(f"this deployment has no topic {to!r} to publish to: {nearest(to, config.topics)}")
        return encode_headers(with_headers)

    return (LoopSlots if handler.is_async else ThreadSlots)(handler, topic, 1, check, Standstill())


def _outcome(slots: LoopSlots | ThreadSlots, handler: Handler, delivery: Delivery, timeout_s: float | None) -> Outcome:
    settled: SimpleQueue[Outcome] = SimpleQueue()

    def settle(_delivery: Delivery, outcome: Outcome) -> None:
        settled.put(outcome)

    slots.start(settle)
    if timeout_s is not None:
        TimeLimits(
            slots,
            handler,
            timeout_s=timeout_s,
            is_overdue=lambda _delivery, _seconds: False,  # no broker waits for it
            settle=settle,
            on_counted_out=lambda: None,
        ).start()
    slots.put([delivery])
    return settled.get()


def _tell_what_is_left() -> None:
    """What a task of the handler's raised is logged once nobody can ask for it any more: now, before all ends."""
    gc.collect()
    flush()


def _print(done: _Attempt) -> None:
    if done.failure is None:
        click.echo(f"handled in {_milliseconds(done.took_s)} ms")
        for publish in done.publishes:
            click.echo(f"would {_place(publish)}: {_text(publish.body)}")
    else:
        click.echo(_printable(done.failure.traceback), nl=False, err=True)
        fate = {"retry": "retried", "dead_letter": "dead-lettered"}[done.outcome]
        raised = "" if isinstance(done.failure, Retry) and done.failure.reason == "timeout" else "raised "
        click.echo(f"{raised}{_printable(done.failure.error)}, which would be {fate}")


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
