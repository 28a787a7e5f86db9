"""Waits are measured from the header our publisher stamps, as pika gives it back."""

from __future__ import annotations

from pika.data import decode_table, encode_table

from hermes_ray.broker.outgoing import fresh
from hermes_ray.core.histogram import quantile
from hermes_ray.worker.slots import _Slot
from hermes_ray.worker.standstill import Standstill


def test_a_wait_is_counted_from_the_publish_time_that_travelled_through_the_broker() -> None:
    encoded: list[bytes] = []
    stamped = fresh("crawl", b"{}").properties.headers
    encode_table(encoded, {name: value - 2_000 for name, value in stamped.items()})
    headers, _ = decode_table(b"".join(encoded), 0)
    slot = _Slot(Standstill())
    slot.begin(headers)
    slot.begin({"x-hermes-published-ms": "yesterday"})
    waited_s = quantile(slot.wait, 1.0)
    assert waited_s is not None
    assert 1.7 < waited_s < 2.5
    assert sum(slot.wait) == 1
