"""The file that a scaler's memory is kept in."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import signal
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from hermes_ray.deploy.changes import applied
from hermes_ray.scaler.checkpoint import MAGIC, RECORD, Checkpoint
from hermes_ray.scaler.memory import Changes
from tests.support.memories import OWNER, filled, header, whole
from tests.support.scaler_world import ScalerWorld

OLD = filled()


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    with contextlib.closing(Checkpoint(tmp_path / "state" / "hash" / "shop.eu.state", pause=no_pause)) as made:
        yield made


def no_pause(_seconds: float) -> None: ...


def record(data: bytes) -> bytes:
    return MAGIC + RECORD.pack(len(data), zlib.crc32(data)) + data


def names(checkpoint: Checkpoint) -> list[str]:
    return sorted(path.name for path in checkpoint.path.parent.iterdir() if path.suffix != ".lock")


def generation(n: int) -> Changes:
    return Changes(header=header(generation=n))


def read_generation(checkpoint: Checkpoint) -> int:
    memory = checkpoint.read()
    assert memory is not None
    return memory.header.generation


def test_what_is_written_is_read_back_and_nothing_else_is_left_there(checkpoint: Checkpoint) -> None:
    assert checkpoint.read() is None
    assert checkpoint.wants_whole
    checkpoint.write(whole(OLD))
    assert checkpoint.read() == OLD
    assert not checkpoint.wants_whole
    for n in (8, 9):
        checkpoint.write(generation(n))
        assert read_generation(checkpoint) == n
    assert checkpoint.read() == structs.replace(OLD, header=header(generation=9))
    checkpoint.write(whole(OLD))
    assert checkpoint.read() == OLD
    assert names(checkpoint) == ["shop.eu.state"]


@pytest.mark.parametrize(("whole_kb", "changes"), [(0, 2), (4_000, 4)])
def test_changes_are_appended_until_they_weigh_half_of_the_whole_and_a_megabyte(
    checkpoint: Checkpoint, whole_kb: int, changes: int
) -> None:
    checkpoint.write(Changes(header=header(), is_whole=True, gone=["x" * 1_000] * whole_kb))
    for _ in range(changes):
        assert not checkpoint.wants_whole
        checkpoint.write(Changes(header=header(), gone=["x" * 1_000] * 600))
    assert checkpoint.wants_whole
    size_bytes = checkpoint.path.stat().st_size
    checkpoint.write(whole(OLD))
    assert checkpoint.path.stat().st_size < size_bytes / 10
    assert not checkpoint.wants_whole


def test_only_its_owner_may_read_it_or_look_into_its_directory(checkpoint: Checkpoint) -> None:
    checkpoint.write(whole(OLD))
    assert stat.S_IMODE(checkpoint.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(checkpoint.path.parent.stat().st_mode) == 0o700
    checkpoint.path.chmod(0o644)
    checkpoint.write(whole(OLD))
    assert stat.S_IMODE(checkpoint.path.stat().st_mode) == 0o600


def refused(*_: Any) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("name", ["os.fsync", "pathlib.Path.replace"])
def test_a_whole_write_that_fails_leaves_the_old_file_and_no_litter(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    checkpoint.write(whole(OLD))
    with monkeypatch.context() as broken:
        broken.setattr(name, refused)
        with pytest.raises(OSError, match=r"\[Errno"):
            checkpoint.write(whole(filled(topics={})))
    assert names(checkpoint) == ["shop.eu.state"]
    assert checkpoint.read() == OLD
    assert checkpoint.wants_whole


def test_a_change_that_fails_is_followed_by_a_whole_memory(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write(whole(OLD))
    with monkeypatch.context() as broken:
        broken.setattr("os.fdatasync", refused)
        with pytest.raises(OSError, match=r"\[Errno"):
            checkpoint.write(generation(8))
    assert checkpoint.wants_whole
    with pytest.raises(OSError, match="after a whole memory"):
        checkpoint.write(generation(9))
    checkpoint.write(whole(OLD))
    assert checkpoint.read() == OLD


def test_a_disk_that_takes_a_part_of_a_change_has_failed(checkpoint: Checkpoint) -> None:
    checkpoint.write(whole(OLD))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (checkpoint.path.stat().st_size + 10, limits[1]))
        with pytest.raises(OSError, match="a part of it only"):
            checkpoint.write(generation(8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert checkpoint.wants_whole
    assert checkpoint.read() == OLD


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_record_that_a_crash_cut_short_costs_that_one_alone(checkpoint: Checkpoint, cut: int) -> None:
    checkpoint.write(whole(OLD))
    checkpoint.write(generation(8))
    before = checkpoint.path.read_bytes()
    checkpoint.write(generation(9))
    after = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(after[: len(before) + cut])
    assert read_generation(checkpoint) == 8
    checkpoint.path.write_bytes(after[:-cut] + bytes(cut))
    assert read_generation(checkpoint) == 8


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        Checkpoint(tmp_path / "file" / "hash" / "shop.state").write(whole(OLD))


def test_the_new_file_is_on_disk_before_it_takes_the_place_of_the_old_one(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        done.append("synced")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        done.append("replaced")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    checkpoint.write(whole(OLD))
    assert done == ["synced", "replaced", "synced"], "the file, its name, its directory"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b'{"version": 1, "topics": {}}',
        b"hermes_ray memory 99\n",
        MAGIC + RECORD.pack(3, zlib.crc32(b"abc")) + b"abc",
        record(b"\x80"),
        record(msgspec.msgpack.encode([1, 2])),
        record(msgspec.msgpack.encode({"topics": {}})),
        record(msgspec.msgpack.encode({"header": 5})),
        record(b"\x91" * 100_000),
        MAGIC + b"\0" * 5_000,
        MAGIC + RECORD.pack(5, 1) + b"\x80abcd",
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_and_reading_gives_none(checkpoint: Checkpoint, content: bytes) -> None:
    checkpoint.path.parent.mkdir(parents=True)
    checkpoint.path.write_bytes(content)
    assert checkpoint.read() is None
    (aside,) = names(checkpoint)
    assert re.fullmatch(r"shop\.eu\.state\.unreadable-\d{8}T\d{6}", aside), "no name that a deployment's file can have"
    checkpoint.write(whole(OLD))
    assert checkpoint.read() == OLD
    assert checkpoint.path.with_name(aside).read_bytes() == content


@pytest.mark.parametrize(
    "end", [b"\0" * 5_000, b"\0" * 3, RECORD.pack(900, 1) + b"half", b"\0\0\0\x04abcdabcd", b"\xff"]
)
def test_an_end_that_no_record_can_be_made_of_costs_nothing_before_it(
    checkpoint: Checkpoint, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.write(whole(OLD))
    checkpoint.write(generation(8))
    with checkpoint.path.open("ab") as file:
        file.write(end)
    assert read_generation(checkpoint) == 8
    assert ("were not written whole" in caplog.text) is bool(end.strip(b"\0"))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.ESTALE, errno.EACCES])
def test_a_passing_error_of_the_system_costs_no_good_file(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    checkpoint.write(whole(OLD))
    read_bytes, failures = Path.read_bytes, iter([OSError(number, os.strerror(number))] * 7)

    def flaky(path: Path) -> bytes:
        if (error := next(failures, None)) is not None:
            raise error
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", flaky)
    assert checkpoint.read() == OLD
    assert names(checkpoint) == ["shop.eu.state"]


def test_an_error_that_stays_is_told_and_the_file_is_left_where_it_is(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.write(whole(OLD))
    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoint.read()
    assert names(checkpoint) == ["shop.eu.state"]


def test_no_password_and_no_secret_option_is_in_the_file_of_a_busy_deployment(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = ("s3same", "t0psecret", "qu3ry")
    options = "{api_key: t0psecret, dsn: 'postgres://me:s3same@h/db?password=qu3ry'}"
    monkeypatch.setenv("URL", "amqp://me:s3same@h:5672/%2F")
    monkeypatch.setenv("OPTIONS", options)
    words = ("broker.url=${oc.env:URL}", "topics.light.options=${oc.decode:${oc.env:OPTIONS}}")
    world = ScalerWorld(*words)
    world.applied(*words, owner=OWNER)
    assert world.plan.config.topics["light"].options["api_key"] == "t0psecret"
    world.ready["light"] = 500
    world.tick(5)
    world.unwell, world.broken, world.ready["heavy"] = {"light"}, {"heavy"}, 5
    world.tick(5)
    memory = world.memory()
    assert memory.topics["heavy"].counts.start_failures
    assert memory.topics["light"].recent_decisions
    checkpoint.write(whole(memory))
    content = checkpoint.path.read_bytes()
    assert not [secret for secret in secrets if secret.encode() in content]
    assert not [secret for secret in secrets if secret in str(applied(world.plan))], "nor in what an apply is told"
