"""Numbers that the pages promise are those the code goes by."""

from __future__ import annotations

import pytest

from hermes_ray.broker.ack_pace import FLUSH_DELAY_S
from hermes_ray.cli.serve import SCALER_WAIT_S
from hermes_ray.cluster.packages import KEPT_FOR_S
from hermes_ray.config.settings import DAY_S, Config, WorkerConfig
from hermes_ray.core.stabilise import WINDOW_S
from hermes_ray.deploy.queues import BROKER_WAIT_S
from hermes_ray.scaler.checkpoint import CLAIM_PAUSE_S, CLAIM_TRIES
from hermes_ray.scaler.lifecycle import DRAIN_GRACE_S, REPLACED_AFTER_S, SAID_AFTER_INTERVALS, START_DEADLINE_S
from hermes_ray.scaler.report_interval import LEAST_S, MAX_CALLS_PER_S, MOST_S
from hermes_ray.scaler.start_backoff import EARLY_DEATH_S, FIRST_BACKOFF_S, MAX_BACKOFF_S
from tests.support.readme import doc

WORKER, CONFIG = WorkerConfig(), Config(topics={})
SAID = f"after {SAID_AFTER_INTERVALS:g} report intervals"
BACKOFFS = ", ".join(f"{FIRST_BACKOFF_S * factor:g} s" for factor in (1, 2, 4))


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("operating", f"settled a message or consumed for {EARLY_DEATH_S:g} s"),
        ("operating", f"within `drain_timeout_s` ({CONFIG.drain_timeout_s:g} s)"),
        ("operating", f"waits {SCALER_WAIT_S:g} s for one that an apply may be starting"),
        ("operating", f"remembered for `forget_after_s` ({CONFIG.forget_after_s / DAY_S:g} days)"),
        ("operating", f"taken back after {START_DEADLINE_S:g} s"),
        ("operating", f"`unresponsive` {SAID}, replaced after {REPLACED_AFTER_S:g} s"),
        ("operating", f"killed after `worker.silent_timeout_s` ({WORKER.silent_timeout_s:g} s)"),
        ("operating", f"`not_consuming` {SAID}, drained and replaced after {REPLACED_AFTER_S:g} s"),
        ("operating", f"killed {DRAIN_GRACE_S:g} s after `worker.drain_timeout_s`"),
        ("operating", f"less often from {MAX_CALLS_PER_S} of them on: at most every {MOST_S:g} s"),
        ("operating", f"away for {KEPT_FOR_S / 60:g} minutes"),
        ("operating", f"refused after {CLAIM_TRIES * CLAIM_PAUSE_S:g} s, exit code 2"),
        ("commands", f"no broker within {BROKER_WAIT_S:g} s"),
        ("configuration", f"wanted in the last {WINDOW_S:g} s"),
        ("configuration", f"each {MOST_S:g} s at most"),
        ("configuration", f"tried again after {BACKOFFS}, up to {MAX_BACKOFF_S / 60:g} minutes"),
        ("design", f"{LEAST_S:g} to {MOST_S:g} s"),
        ("design", f"acks of {FLUSH_DELAY_S * 1000:g} ms (`broker/ack_pace.py`) share frames"),
        ("handlers", f"`worker.drain_timeout_s` ({WORKER.drain_timeout_s / 60:g} minutes)"),
        ("troubleshooting", f"replaced after {REPLACED_AFTER_S:g} s and killed after `worker.silent_timeout_s`"),
    ],
)
def test_a_number_that_a_page_names_is_the_one_in_the_code(page: str, sentence: str) -> None:
    assert sentence in " ".join(doc(page).read_text(encoding="utf-8").split())
