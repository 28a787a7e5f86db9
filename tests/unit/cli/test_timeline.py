from __future__ import annotations

from pathlib import Path

import pytest

from hermes_ray.cli.record import Mark, Recording
from hermes_ray.cli.timeline import draw, spaced
from tests.support.statuses import TOPICS, a_record, state, status_of


def test_decisions_in_a_row_share_a_label_from_the_first_to_the_last() -> None:
    marks = [
        Mark(at_s=at_s, before=before, target=target, text="")
        for at_s, before, target in ((5.0, 1, 2), (6.0, 2, 4), (20.0, 4, 3), (30.0, 3, 4), (31.0, 4, 3))
    ]
    assert [(row.at_s, row.before, row.target) for row in spaced(marks, 3.0)] == [(5.0, 1, 4), (20.0, 4, 3)]


def many() -> Recording:
    """More topics than there are colours."""
    record = Recording()
    record.add(status_of({f"topic_{n}": state(decided=1.0) for n in range(5)}), 2.0)
    return record


@pytest.mark.parametrize(
    "record", [a_record(decided=1_010.0, depth=412), a_record(depth=None), Recording(TOPICS, 0.0), many()]
)
def test_the_picture_is_drawn_whatever_is_known(record: Recording, tmp_path: Path) -> None:
    path = tmp_path / "timeline.png"
    draw(record, "title", "subtitle", path, ("slow", (10.0, 20.0)))
    assert path.read_bytes().startswith(b"\x89PNG")
