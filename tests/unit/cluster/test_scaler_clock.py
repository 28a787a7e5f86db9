from __future__ import annotations

import time

from hermes_ray.cluster.scaler_actor import steady_clock


def test_the_clock_never_runs_behind_what_is_remembered() -> None:
    ahead_s = time.time() + 600
    clock = steady_clock(ahead_s)
    assert ahead_s <= clock() <= clock() < ahead_s + 60
    assert abs(steady_clock(0.0)() - time.time()) < 60
