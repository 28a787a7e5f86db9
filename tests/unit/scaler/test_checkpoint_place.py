"""Where the file of a scaler's memory is, and whose it is."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermes_ray.config.names import MAX_DEPLOYMENT_CHARACTERS
from hermes_ray.scaler.checkpoint import Checkpoint, checkpoint_path
from tests.support.memories import filled, whole

OLD = filled()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Iterator[Checkpoint]:
    with contextlib.closing(Checkpoint(tmp_path / "state" / "hash" / "shop.eu.state")) as made:
        yield made


def names(checkpoint: Checkpoint) -> list[str]:
    return sorted(path.name for path in checkpoint.path.parent.iterdir() if path.suffix != ".lock")


def test_two_scalers_with_one_file_see_each_other_and_the_second_is_refused(checkpoint: Checkpoint) -> None:
    checkpoint.write(whole(OLD))
    with contextlib.closing(Checkpoint(checkpoint.path)) as second:
        with pytest.raises(OSError, match=rf"belongs to the scaler with pid {os.getpid()} .*deployment.name"):
            second.write(whole(filled(topics={})))
        assert checkpoint.read() == OLD
        checkpoint.close()
        second.write(whole(filled(topics={})))
    assert checkpoint.read() == filled(topics={})


def test_a_file_of_another_scaler_that_cannot_be_read_here_is_left_to_it(checkpoint: Checkpoint) -> None:
    checkpoint.claim()
    checkpoint.path.write_bytes(b"hermes_ray memory 99\n of a newer version")
    with contextlib.closing(Checkpoint(checkpoint.path)) as second:
        assert second.read() is None
        assert names(checkpoint) == ["shop.eu.state"]
    checkpoint.set_aside("it is ours")
    assert [name.partition("-")[0] for name in names(checkpoint)] == ["shop.eu.state.unreadable"]


def test_the_longest_name_a_deployment_may_have_is_no_file_name_too_long(tmp_path: Path) -> None:
    name = "a" * MAX_DEPLOYMENT_CHARACTERS
    with contextlib.closing(Checkpoint(checkpoint_path(str(tmp_path), ["amqp://h"], name))) as checkpoint:
        checkpoint.write(whole(OLD))
        checkpoint.set_aside("a test")
        assert names(checkpoint)[0].startswith(f"{name}.state.unreadable-")


def test_the_end_of_a_scaler_that_is_on_its_way_out_is_waited_for(checkpoint: Checkpoint) -> None:
    checkpoint.claim()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            checkpoint.close()

    with contextlib.closing(Checkpoint(checkpoint.path, pause=pause)) as following:
        following.claim(tries=5)
        assert len(pauses) == 3
        with pytest.raises(BlockingIOError):
            checkpoint.claim()


def without_directory(place: Path) -> None:
    shutil.rmtree(place.parent.parent)


def without_file(place: Path) -> None:
    place.unlink()


def without_lock(place: Path) -> None:
    place.with_suffix(".lock").unlink()


def with_an_older_copy(place: Path) -> None:
    place.with_suffix(".copy").write_bytes(place.read_bytes())
    place.with_suffix(".copy").replace(place)


@pytest.mark.parametrize("meddle", [without_directory, without_file, without_lock, with_an_older_copy])
def test_a_place_that_was_removed_or_replaced_is_taken_and_filled_again(
    checkpoint: Checkpoint, meddle: Callable[[Path], None]
) -> None:
    checkpoint.write(whole(filled(topics={})))
    assert not checkpoint.wants_whole
    meddle(checkpoint.path)
    assert checkpoint.wants_whole
    checkpoint.write(whole(OLD))
    assert checkpoint.read() == OLD
    assert not checkpoint.wants_whole
    with contextlib.closing(Checkpoint(checkpoint.path)) as second, pytest.raises(BlockingIOError, match="belongs to"):
        second.claim()


def test_a_place_that_was_removed_and_is_another_scalers_by_now_is_left_to_that_one(checkpoint: Checkpoint) -> None:
    checkpoint.write(whole(OLD))
    shutil.rmtree(checkpoint.path.parent)
    with contextlib.closing(Checkpoint(checkpoint.path)) as second:
        second.write(whole(filled(topics={})))
        assert checkpoint.wants_whole
        for _ in range(2):
            with pytest.raises(BlockingIOError, match="belongs to the scaler with pid"):
                checkpoint.write(whole(OLD))
        assert second.read() == filled(topics={})
        assert not second.wants_whole
    checkpoint.write(whole(OLD))
    assert checkpoint.read() == OLD


PLACE = ("/state", ["amqp://me:one@left:5672/shop", "amqp://me:one@right:5672/shop"], "hermes")


@pytest.mark.parametrize(
    "urls",
    [
        ["amqp://me:two@left:5672/shop", "amqp://you:p%40@right:5672/shop"],
        ["amqp://left:5672/shop", "amqp://right:5672/shop"],
        ["amqp://me:one@right:5672/shop", "amqp://me:one@left:5672/shop"],
        ["amqp://me:one@left/shop", "amqp://me:one@RIGHT/s%68op?heartbeat=20"],
    ],
)
def test_one_broker_has_one_place_whatever_the_password_and_the_way_it_is_written(urls: list[str]) -> None:
    state_dir, same, name = PLACE
    assert checkpoint_path(state_dir, urls, name) == checkpoint_path(state_dir, same, name)


def test_the_default_virtual_host_may_be_left_out() -> None:
    written = ["amqp://h", "amqp://h/", "amqp://h/%2F", "amqp://h:5672/%2f"]
    assert len({checkpoint_path("/state", [url], "hermes") for url in written}) == 1
    assert checkpoint_path("/state", ["amqps://h"], "a") == checkpoint_path("/state", ["amqps://h:5671/"], "a")


def test_each_host_port_virtual_host_set_of_nodes_and_deployment_has_a_place_of_its_own() -> None:
    state_dir, (left, right), name = PLACE
    places = [
        checkpoint_path(state_dir, urls, its_name)
        for urls, its_name in [
            ([left, right], name),
            ([left, right], "other"),
            ([left], name),
            ([right], name),
            ([left.replace("5672", "5673"), right], name),
            (["amqp://left/stock", "amqp://right/stock"], name),
            (["amqp://left", "amqp://right"], name),
        ]
    ]
    assert len(set(places)) == len(places)
    for place in places:
        assert place.parent.parent == Path("/state")
        assert "one" not in str(place)


def test_a_place_below_the_home_directory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    place = checkpoint_path("~/.local/state/hermes_ray", ["amqp://h"], "hermes")
    assert place.is_relative_to("/home/me/.local/state/hermes_ray")
    assert place.name == "hermes.state"
