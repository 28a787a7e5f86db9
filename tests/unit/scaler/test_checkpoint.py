"""The file that a scaler's memory is kept in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermes_ray.deploy.changes import applied
from hermes_ray.scaler.checkpoint import STATE_VERSION, Checkpoint, checkpoint_path
from hermes_ray.scaler.codec import from_plain
from hermes_ray.scaler.memory import Memory
from tests.support.memories import OWNER
from tests.support.scaler_world import ScalerWorld

OLD = {"counts": [1, 2], "version": STATE_VERSION}


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "state" / "hash" / "shop.eu.json")


def names(checkpoint: Checkpoint) -> list[str]:
    return sorted(path.name for path in checkpoint.path.parent.iterdir())


def test_what_is_written_is_read_back_whole_and_nothing_else_is_left_there(checkpoint: Checkpoint) -> None:
    assert checkpoint.read() is None
    for counts in ([1, 2], [1, 2, 3], []):
        checkpoint.write({"counts": counts})
        assert checkpoint.read() == {"counts": counts, "version": STATE_VERSION}
        assert names(checkpoint) == ["shop.eu.json"]


def test_only_its_owner_may_read_it_or_look_into_its_directory(checkpoint: Checkpoint) -> None:
    checkpoint.write({"counts": [1]})
    assert stat.S_IMODE(checkpoint.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(checkpoint.path.parent.stat().st_mode) == 0o700
    checkpoint.path.chmod(0o644)
    checkpoint.write({"counts": [2]})
    assert stat.S_IMODE(checkpoint.path.stat().st_mode) == 0o600


def half_written(*_: Any, **__: Any) -> Iterator[str]:
    yield '{"counts":[1,'
    raise OSError(28, "No space left on device")


def refused(*_: Any) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("json.encoder.JSONEncoder.iterencode", half_written),
        ("os.fsync", refused),
        ("pathlib.Path.replace", refused),
    ],
)
def test_a_write_that_fails_half_way_leaves_the_old_file_and_no_litter(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, name: str, failing: Any
) -> None:
    checkpoint.write({"counts": [1, 2]})
    with monkeypatch.context() as broken:
        broken.setattr(name, failing)
        with pytest.raises(OSError, match=r"\[Errno"):
            checkpoint.write({"counts": [9]})
    assert names(checkpoint) == ["shop.eu.json"]
    assert checkpoint.read() == OLD


def test_what_json_cannot_write_leaves_the_old_file_and_no_litter(checkpoint: Checkpoint) -> None:
    checkpoint.write({"counts": [1, 2]})
    with pytest.raises(TypeError):
        checkpoint.write({"counts": [1, object()]})
    assert names(checkpoint) == ["shop.eu.json"]
    assert checkpoint.read() == OLD


def test_a_directory_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        Checkpoint(tmp_path / "file" / "hash" / "shop.json").write({})


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
    checkpoint.write({})
    assert done == ["synced", "replaced"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b'{"version": 1, "topics": {"a',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'"text"',
        b"{}",
        f'{{"version": {STATE_VERSION + 1}}}'.encode(),
        f'{{"version": "{STATE_VERSION}"}}'.encode(),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_and_reading_gives_none(checkpoint: Checkpoint, content: bytes) -> None:
    checkpoint.path.parent.mkdir(parents=True)
    checkpoint.path.write_bytes(content)
    assert checkpoint.read() is None
    assert names(checkpoint) == ["shop.eu.unreadable.json"]
    checkpoint.write({"counts": [1, 2]})
    assert checkpoint.read() == OLD
    assert checkpoint.path.with_name("shop.eu.unreadable.json").read_bytes() == content


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
    assert world.fleet.failed_starts["heavy"]
    checkpoint.write(world.written)
    content = checkpoint.path.read_bytes()
    assert from_plain(Memory, checkpoint.read()).topics["light"].recent_decisions
    assert not [secret for secret in secrets if secret.encode() in content]
    assert not [secret for secret in secrets if secret in str(applied(world.plan))], "nor in what an apply is told"


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
    assert place.name == "hermes.json"
