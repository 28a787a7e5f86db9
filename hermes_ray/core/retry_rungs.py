"""How long a failed message waits: the delays a retry can have, one wait queue each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["retry_rung_ms", "rungs_ms"]


def rungs_ms(base_delay_s: float, max_delay_s: float, max_attempts: int) -> tuple[int, ...]:
    """Every delay a retry of this policy can have, in ms, ascending: ``base_delay_s x 2^(k/2)`` up to ``max_delay_s``.

    The n-th failure (from 1) waits about ``base x 2^(n-1)``, rung k = 2(n-1), jittered one rung either way; the last
    retry follows failure ``max_attempts - 1``. Base 1 s, 5 attempts: 1000, 1414, 2000, ... 11314 (k = 0 to 7).
    """
    if max_attempts < 2:
        return ()
    highest = 2 * (max_attempts - 2) + 1
    rungs: list[int] = []
    for k in range(highest + 1):
        delay_s = base_delay_s * 2 ** (k / 2)
        if rungs and delay_s > max_delay_s * (1 + 1e-9):
            break
        rungs.append(max(1, round(1000 * delay_s)))
    return tuple(dict.fromkeys(rungs))


def retry_rung_ms(rungs: Sequence[int], failures: int, choose: Callable[[Sequence[int]], int]) -> int:
    """The delay in ms after ``failures`` (>= 1) failed attempts: ``choose`` picks a rung below, at or above 2^(n-1).

    ``choose`` is given one to three rungs and draws uniformly. After the 3rd failure of base 1 s: 2828, 4000 or 5657.
    """
    middle = min(2 * (failures - 1), len(rungs) - 1)
    return choose(rungs[max(0, middle - 1) : middle + 2])
