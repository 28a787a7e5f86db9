"""Wrong words of ``hermes publish``, each refused with its sentence before any broker is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hermes_ray.cli import publish as module
from hermes_ray.cli.publish import publish
from hermes_ray.errors import UserMistake

WRONG = [
    ((), "topic=NAME is missing: name the topic, or a queue, to publish to"),
    (("topic=",), "topic=NAME is missing"),
    (("topic=" + "a" * 300,), "topic='aaaaaaa"),
    (("topic=\udcff",), "topic='\\udcff' is no name of a queue: give one of at most 255 bytes of UTF-8"),
    (("topic=q\n2",), "topic='q\\n2' is no name of a queue: give one of at most 255 bytes of UTF-8 without control"),
    (("topic=q\x7f",), "topic='q\\x7f' is no name of a queue"),
    (("topic",), "'topic' is no key=value word: write it like topic=..."),
    (("topic=t", "shape=square"), "shape=square is no shape: use constant, burst, ramp, sine"),
    (("topic=t", "shape="), "shape= is no shape"),
    (("topic=t", "count=5", "seconds=5"), "count and seconds are both given: give one, rate_hz makes the other"),
    (("topic=t", "rate_hz=0"), "rate_hz=0 is out of range: give a number above 0, at most 1e+06"),
    (("topic=t", "rate_hz=-3"), "rate_hz=-3 is out of range"),
    (("topic=t", "rate_hz=nan"), "rate_hz=nan is out of range"),
    (("topic=t", "rate_hz=inf"), "rate_hz=inf is out of range"),
    (("topic=t", "rate_hz=fast"), "rate_hz=fast is out of range"),
    (("topic=t", "rate_hz="), "rate_hz= is out of range"),
    (("topic=t", "seconds=0"), "seconds=0 is out of range: give a number above 0, at most 1e+07"),
    (("topic=t", "seconds=1e9"), "seconds=1e9 is out of range"),
    (("topic=t", "count=0"), "count=0 is out of range: give a whole number above 0, at most 1e+08"),
    (("topic=t", "count=2.5"), "count=2.5 is out of range: give a whole number"),
    (("topic=t", "count=200000000"), "count=200000000 is out of range"),
    (("topic=t", "count=" + "9" * 5000), "count=999"),
    (("topic=t", "rate_hz=0.001", "seconds=5"), "rate_hz=0.001 x seconds=5 is less than a message: raise one of them"),
    (("topic=t", "rate_hz=1e6", "seconds=1e6"), "rate_hz=1e+06 x seconds=1e+06 is over 100000000 messages"),
    (("topic=t", "trace=gone.csv"), "trace=gone.csv cannot be read (No such file or directory): give the path"),
    (("topic=t", "trace=."), "trace=. cannot be read (Is a directory)"),
    (("topic=t", "trace=binary"), "trace=binary cannot be read (it is no UTF-8 text)"),
    (("topic=t", "trace=empty"), "trace=empty holds no rows"),
    (("topic=t", "trace=quiet.csv"), "trace=quiet.csv makes no message: write arrivals above 0"),
    (("topic=t", "trace=huge.csv"), "trace=huge.csv makes inf messages: at most 100000000 are sent"),
    (("topic=t", "trace=good.csv", "rate_hz=5", "shape=burst"), "trace=good.csv says all about when: leave out rate_"),
    (("topic=t", "trace=good.csv", "count=5"), "trace=good.csv says all about when: leave out count"),
    (("topic=t", "body=@gone.json"), "body=@gone.json cannot be read (No such file or directory)"),
    (("topic=t", "ids=gone/ids"), "ids=gone/ids cannot be written: No such file or directory"),
    (("topic=t", "ids=."), "ids=. cannot be written: Is a directory"),
    (("topic=t", "rate=5"), "there is no key 'rate'"),
    (("topic=t", "config=gone.yaml"), "config='gone.yaml' cannot be read"),
    (("topic=t", "broker.url=http://localhost"), "broker.url"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG, ids=lambda part: " ".join(part)[:40] if part else "nothing")
def test_wrong_words_are_refused_with_a_sentence(
    words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe\x00")
    Path("empty").write_text("")
    Path("huge.csv").write_text("1,1e308\n2,1e308\n")
    Path("quiet.csv").write_text("1,0\n")
    Path("good.csv").write_text("1,5\n")
    with pytest.raises(UserMistake) as caught:
        publish(words)
    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("own", "count", "seconds"),
    [
        ({}, 600, 60.0),
        ({"rate_hz": "5"}, 300, 60.0),
        ({"seconds": "2"}, 20, 2.0),
        ({"rate_hz": "5", "seconds": "2", "shape": "sine"}, 10, 2.0),
        ({"rate_hz": "5", "count": "20"}, 20, 4.0),
        ({"count": "7"}, 7, 0.0),
        ({"count": "1e3"}, 1000, 0.0),
    ],
)
def test_rate_seconds_and_count_make_each_other(own: dict[str, str], count: int, seconds: float) -> None:
    load = module._load(own)
    assert load.count == count
    assert load.seconds == pytest.approx(seconds, abs=1e-6)


def test_a_body_is_numbered_and_may_come_from_a_file(tmp_path: Path) -> None:
    assert module._body(module.DEFAULT_BODY)(7) == b'{"n": 7}'
    (tmp_path / "body.json").write_text('{"ä": {n}}', encoding="utf-8")
    assert module._body(f"@{tmp_path}/body.json")(3) == '{"ä": 3}'.encode()


@pytest.mark.parametrize("body", ['{"text": "a\u2028b"}\r\n'.encode(), b"\xff\x00\n\n"])
def test_a_body_is_sent_as_it_is_byte_for_byte(body: bytes, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(body)
    assert module._body(f"@{tmp_path}/body")(0) == body
    assert module._body(os.fsdecode(body))(0) == body


def test_each_confirmed_id_is_in_the_file_as_soon_as_it_is_known(tmp_path: Path) -> None:
    with module._ids_file(str(tmp_path / "ids")) as note:
        note("m-1")
        note("m-2")
        assert (tmp_path / "ids").read_text() == "m-1\nm-2\n"
