"""Whether a topic's handlers end, and how far a pool may grow while nobody knows.

More workers help where messages flow. Where handlers hang, each new worker takes messages and hangs as well.
"""

from __future__ import annotations

from hermes_ray.core.model import Snapshot, TopicParams
from hermes_ray.core.service import recent_s

__all__ = ["first_run_limit", "hangs", "is_first_run", "stands_still"]

_LONG_RATIO = 3.0
_LEAST_S = 5.0
_LEAST_INTERVALS = 1.25
_DOUBLING_S = 20.0


def is_first_run(seen: Snapshot) -> bool:
    """Whether handlers run of which none has ever ended, and nothing is known of them from elsewhere."""
    is_guess = seen.service_p95_s is None or seen.service_p95_s == seen.longest_running_s
    return bool(seen.running_count) and seen.unfinished_s is None and is_guess


def first_run_limit(seen: Snapshot) -> int:
    """Workers a topic may have by now whose first runs are still going on: twice as many each 20 s.

    After 65 s of the oldest, 2 ** 3 = 8.
    """
    return 1 << int((seen.longest_running_s or 0.0) / _DOUBLING_S)


def stands_still(seen: Snapshot, params: TopicParams, *, report_interval_s: float) -> bool:
    """Whether most slots are busy, and no run has ended for 3 times what is usual, though the oldest should have.

    Of runs that usually take 4 s: 12 s. At least 5 s, or a report interval and a quarter, since a run shows when it
    is reported.
    """
    if hangs(seen, params, report_interval_s=report_interval_s):
        return True
    if seen.service_p95_s is None or not seen.running_count or is_first_run(seen):
        return False
    if 2 * seen.running_count < seen.workers.observed * params.concurrency:
        return False
    least_s = max(_LEAST_S, _LEAST_INTERVALS * report_interval_s, _LONG_RATIO * seen.service_p95_s)
    quiet_s = seen.longest_running_s if seen.unfinished_s is None else seen.unfinished_s
    return min(quiet_s or 0.0, seen.longest_running_s or 0.0) > least_s


def hangs(seen: Snapshot, params: TopicParams, *, report_interval_s: float) -> bool:
    """Whether no run has ended lately, and one goes on for longer than 60 s and than 3 times what is usual.

    A usual run of 3 minutes is called hanging after 9. Before any run has ended what the objective allows for stands in
    for the usual. Instead of 60 s three report intervals, where these are longer.
    """
    running_s, usual_s = seen.longest_running_s, seen.service_p95_s
    if not running_s or seen.finish_rate_hz != 0.0:
        return False
    if usual_s is None or usual_s == running_s:
        usual_s = params.latency_objective_s
    return running_s > max(recent_s(report_interval_s), _LONG_RATIO * usual_s)
