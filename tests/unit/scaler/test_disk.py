"""What becomes of a checkpoint on a disk that is full, where a file is in the way, after others had it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid, uname
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from signal import SIG_IGN, SIGXFSZ, signal

import pytest

from hermes_ray.scaler.checkpoint import Checkpoint
from hermes_ray.scaler.memory import Changes
from tests.support.memories import filled, header, whole


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """No file grows beyond that meanwhile: a write takes what still fits."""
    before, handler = getrlimit(RLIMIT_FSIZE), signal(SIGXFSZ, SIG_IGN)
    setrlimit(RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        setrlimit(RLIMIT_FSIZE, before)
        signal(SIGXFSZ, handler)


def test_a_record_of_which_the_disk_took_a_part_is_an_error_and_the_next_is_of_everything(tmp_path: Path) -> None:
    path = tmp_path / "here.state"
    store, memory = Checkpoint(path), filled()
    store.write(whole(memory))
    with largest_file(path.stat().st_size + 20), pytest.raises(OSError, match="a part of it only"):
        store.write(Changes(header=header(generation=8), topics=dict(memory.topics)))
    assert store.wants_whole
    assert Checkpoint(path).read() == memory, "what was whole is read, half a record is not"
    store.write(whole(memory))
    store.close()
    assert Checkpoint(path).read() == memory


def test_where_a_file_stands_in_place_of_the_directory_nothing_was_written(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    pauses: list[float] = []
    assert Checkpoint(tmp_path / "state" / "here.state", pause=pauses.append).read() is None
    assert pauses == [], "it is no error that passes"


def test_whose_it_is_says_nothing_of_those_who_had_it_before(tmp_path: Path) -> None:
    path = tmp_path / "here.state"
    path.with_suffix(".lock").write_text("the scaler with pid 1 on a machine of long ago")
    store = Checkpoint(path)
    store.claim()
    with pytest.raises(BlockingIOError, match=rf"belongs to the scaler with pid {getpid()} on {uname().nodename},"):
        Checkpoint(path).claim()
    store.close()
