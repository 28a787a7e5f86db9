"""Waits are measured from the header our publisher stamps."""

from __future__ import annotations

import time

from hermes_ray.broker.delivery import Delivery
from hermes_ray.broker.outgoing import DUE_MS, PUBLISHED_MS, fresh
from hermes_ray.core.histogram import quantile
from hermes_ray.worker.slot import Slot
from hermes_ray.worker.standstill import Standstill
from tests.support.deliveries import delivery


def test_a_wait_is_counted_from_the_publish_time_or_from_when_a_retry_was_due() -> None:
    now_ms = time.time_ns() // 1_000_000
    slot = Slot(Standstill())
    slot.begin(delivery(headers={"first": 1, PUBLISHED_MS: now_ms - 2_000}, content_type="text/plain"))
    slot.begin(delivery(headers={PUBLISHED_MS: now_ms - 60_000, DUE_MS: now_ms - 2_000}))
    assert sum(slot.wait) == 2
    waited_s = quantile(slot.wait, 1.0)
    assert waited_s is not None
    assert 1.7 < waited_s < 2.5


def test_a_message_that_says_no_time_or_that_was_a_dead_letter_has_not_waited_for_a_worker() -> None:
    now_ms = time.time_ns() // 1_000_000
    slot = Slot(Standstill())
    for headers in (
        None,
        {PUBLISHED_MS: "yesterday"},
        {PUBLISHED_MS: {"x": now_ms}},
        {"nested": {PUBLISHED_MS: now_ms}},
        {"text": f"\x15{PUBLISHED_MS}l12345678"},
        {PUBLISHED_MS: now_ms - 9_000, "x-hermes-reason": "attempts"},
    ):
        slot.begin(delivery(headers=headers))
    assert sum(slot.wait) == 0
    slot.begin(Delivery(1, 1, b"\0\0\0", fresh("crawl", b"{}").properties.raw, b"{}"))
    assert sum(slot.wait) == 1
