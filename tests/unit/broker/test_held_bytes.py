"""How many bytes of messages are held, and how many messages of their size may be."""

from __future__ import annotations

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.held_bytes import HeldBytes


def of_size(body: int, raw: int = 0) -> Delivery:
    return Delivery(1, 1, b"\0\0\0", b"p" * raw, b"b" * body)


def test_bodies_and_properties_count_until_they_are_dropped() -> None:
    held = HeldBytes(100)
    assert held.add([of_size(40, 10), of_size(50)]) == 100
    assert (held.now, held.is_too_much) == (100, False)
    assert held.add([of_size(1)]) == 1
    assert held.is_too_much
    held.drop(of_size(40, 10))
    assert (held.now, held.is_too_much) == (51, False)


def test_as_many_may_be_held_as_fit_of_the_size_of_the_last_ones() -> None:
    held = HeldBytes(100)
    assert held.most_count == 100, "nothing is known yet: as if each was of a byte"
    held.add([of_size(40)])
    held.note_mean(2)
    assert held.most_count == 5
    held.add([of_size(1000)])
    held.note_mean(1)
    assert held.most_count == 1, "one at least"
