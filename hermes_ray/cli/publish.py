"""``hermes publish``: a load generator that knows what the broker confirmed."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from hermes_ray.broker.connection import closing, connect
from hermes_ray.broker.outgoing import fresh
from hermes_ray.broker.topology import queue_exists
from hermes_ray.cli.load import LOAD_WORDS, SHAPES, Load, shaped_load, trace_load
from hermes_ray.cli.publish_run import ANSWER_WAIT_S, Run
from hermes_ray.config.loading import COMMAND_WORDS, parse_command, split_words
from hermes_ray.config.names import can_be_queue
from hermes_ray.config.sentences import nearest, shown
from hermes_ray.config.settings import Config
from hermes_ray.errors import OperationFailed, UserMistake

__all__ = ["publish"]

DEFAULT_RATE_HZ, DEFAULT_SECONDS = 10.0, 60.0
MAX_COUNT = 100_000_000
DEFAULT_BODY = '{"n": {n}}'
WHOLE = "a whole number"
CONNECT_WAIT_S = 30.0


def publish(words: Sequence[str]) -> int:
    """Publish what ``words`` describe; the last line printed is the JSON of what the broker said."""
    own, rest = split_words(words, (*LOAD_WORDS, *COMMAND_WORDS))
    settings = [f"{key}={own[key]}" for key in COMMAND_WORDS if key in own]
    config = parse_command([*settings, *rest], need_topics=False).config
    topic = own.get("topic")
    if not topic:
        raise UserMistake("topic=NAME is missing: name the topic, or a queue, to publish to")
    queue = config.queue_of(topic) if topic in config.topics else topic
    if not can_be_queue(queue):
        wanted = "give one of at most 255 bytes of UTF-8 without control characters"
        raise UserMistake(f"topic={shown(topic)} is no name of a queue: {wanted}")
    load, make_body = _load(own), _body(own.get("body", DEFAULT_BODY))
    with _ids_file(own.get("ids")) as note:
        _refuse_without(queue, topic, config)
        run = Run(config.broker.urls, name=f"{config.deployment.name}/publish", ids=note)
        return _played(run, load, queue, make_body)


def _played(run: Run, load: Load, queue: str, make_body: Callable[[int], bytes]) -> int:
    """Play ``load`` and tell what became of it; the exit code."""
    interrupted = False
    try:
        with contextlib.suppress(OperationFailed):  # it is the run's failure, told below
            run.play(load, lambda n: fresh(queue, make_body(n)), on_silence=lambda: _tell_silence(run))
    except KeyboardInterrupt:
        interrupted = True
    run.finish(ANSWER_WAIT_S)
    for trouble in _troubles(run, queue):
        click.echo(f"hermes: {trouble}", err=True)
    click.echo(json.dumps(run.answers))
    if run.failure is not None:
        raise run.failure
    if interrupted:
        return 130
    return 0 if run.answers["confirmed"] == load.count else 1


def _troubles(run: Run, queue: str) -> Iterator[str]:
    """Why messages of ``run``, which has finished, are not in the queue: a sentence for each reason."""
    answers = run.answers
    if count := answers["returned"]:
        yield f"{_messages(count)} came back: there is no queue {queue} now"
    if count := answers["nacked"]:
        yield f"the queue {queue} rejected {_messages(count)}: it is full, or cannot keep them now"
    if count := answers["refused"]:
        yield f"the broker refused {_messages(count)}, the first with: {run.refusal}"
    if (count := run.unanswered_count) and run.failure is None:
        yield _unanswered(count, run.lost_reason)


def _tell_silence(run: Run) -> None:
    text = _unanswered(run.unanswered_count, run.lost_reason)
    click.echo(f"hermes: {text}; the rest is sent once one comes, an interrupt ends it", err=True)


def _unanswered(count: int, reason: str | None) -> str:
    return f"no answer came for {ANSWER_WAIT_S:g} s to {_messages(count)}" + (f": {reason}" if reason else "")


def _messages(count: float) -> str:
    return f"{count} message{'' if count == 1 else 's'}"


def _refuse_without(queue: str, topic: str, config: Config) -> None:
    """Wait up to 30 s for the broker; raises ``UserMistake`` if it has no such queue: all messages would come back."""
    connection = connect(config.broker.urls, name=f"{config.deployment.name}/publish", wait_s=CONNECT_WAIT_S)
    with closing(connection):
        if queue_exists(connection, queue):
            return
    if topic in config.topics:
        raise UserMistake(f"there is no queue {queue} yet: hermes serve or hermes apply declares it")
    known = nearest(topic, config.topics) if config.topics else "name one that is there, or a topic with config=FILE"
    raise UserMistake(f"there is no queue {queue}, and no such topic in the configuration: {known}")


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The number words of the command, checked."""

    rate_hz: float | None
    seconds: float | None
    count: int | None


def _load(own: Mapping[str, str]) -> Load:
    shape = own.get("shape", "constant")
    if shape not in SHAPES:
        raise UserMistake(f"shape={shape} is no shape: use {', '.join(SHAPES)}")
    if "trace" in own:
        clash = [word for word in ("rate_hz", "seconds", "count", "shape") if word in own]
        if clash:
            raise UserMistake(f"trace={own['trace']} says all about when: leave out {', '.join(clash)}")
        load = trace_load(_lines(own["trace"]), own["trace"])
        if load.total > MAX_COUNT:
            raise UserMistake(f"trace={own['trace']} makes {load.total:g} messages: at most {MAX_COUNT} are sent")
        if not load.count:
            raise UserMistake(f"trace={own['trace']} makes no message: write arrivals above 0")
        return load
    numbers = _numbers(own)
    if numbers.count is not None and numbers.seconds is not None:
        raise UserMistake("count and seconds are both given: give one, rate_hz makes the other")
    if numbers.count is not None and numbers.rate_hz is None:
        return Load(points=((0.0, 0.0), (1e-9, numbers.count)))  # as fast as the broker confirms
    rate_hz = numbers.rate_hz or DEFAULT_RATE_HZ
    seconds = numbers.count / rate_hz if numbers.count is not None else numbers.seconds or DEFAULT_SECONDS
    if rate_hz * seconds > MAX_COUNT:
        raise UserMistake(f"rate_hz={rate_hz:g} x seconds={seconds:g} is over {MAX_COUNT} messages: lower one of them")
    load = shaped_load(shape, rate_hz, seconds)
    if not load.count:
        raise UserMistake(f"rate_hz={rate_hz:g} x seconds={seconds:g} is less than a message: raise one of them")
    return load


def _numbers(own: Mapping[str, str]) -> _Numbers:
    def number(word: str, high: float, noun: str = "a number") -> float | None:
        if word not in own:
            return None
        try:
            value = float(own[word])
        except ValueError:
            value = math.nan
        if not 0 < value <= high or (noun == WHOLE and not value.is_integer()):
            raise UserMistake(f"{word}={own[word]} is out of range: give {noun} above 0, at most {high:g}")
        return value

    count = number("count", MAX_COUNT, WHOLE)
    return _Numbers(number("rate_hz", 1e6), number("seconds", 1e7), None if count is None else int(count))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserMistake(f"trace={path} cannot be read ({reason}): give the path of a text file") from error


def _body(given: str) -> Callable[[int], bytes]:
    template = _content(given[1:]) if given.startswith("@") else os.fsencode(given)
    return lambda n: template.replace(b"{n}", b"%d" % n)


def _content(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UserMistake(f"body=@{path} cannot be read ({error.strerror}): give the path of a file") from error


@contextlib.contextmanager
def _ids_file(path: str | None) -> Iterator[Callable[[str], object]]:
    if path is None:
        yield lambda _id: None
        return
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115  (an error of what is done with it is not one of its own)
    except OSError as error:
        raise UserMistake(f"ids={path} cannot be written: {error.strerror}") from error

    def note(message_id: str) -> None:
        line = f"{message_id}\n".encode()
        try:
            while line:
                line = line[file.write(line) :]
        except OSError as error:
            raise OperationFailed(f"ids={path} cannot be written: {error.strerror}") from error

    with file:
        yield note
