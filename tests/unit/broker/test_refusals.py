"""Which queue the broker speaks of when it refuses something."""

from __future__ import annotations

import pytest

from hermes_ray.broker.publisher import _is_about

LONG = "q" * 200 + ".wait.1000"
SAID = "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{}' in vhost '/': received none"


@pytest.mark.parametrize(
    ("reason", "queue", "expected"),
    [
        (SAID.format("q.wait.100"), "q.wait.100", True),
        (SAID.format("q.wait.100"), "q.wait.1000", False),
        (SAID.format("q.wait.1000"), "q.wait.100", False),
        (SAID.format("it's"), "it's", True),
        (SAID.format(LONG)[:252] + "...", LONG, True),
        (SAID.format(LONG)[:252] + "...", "other", False),
        ("404 NOT_FOUND - no exchange 'q' in vhost '/'", "q", False),
        ("", "q", False),
    ],
)
def test_a_refusal_is_about_the_queue_it_names_as_far_as_its_text_goes(reason: str, queue: str, expected: bool) -> None:
    assert _is_about(reason, queue) is expected
