"""How many of which code, at each moment of a roll-out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_ray.scaler.rollout import CANARY_COUNT, Rollout, old_to_drain_count, wanted_new_count


def rollout(target: int, old: int, new: int, proven: int, surge: float = 0.25, *, old_per_new: float = 1.0) -> Rollout:
    return Rollout(
        target=target,
        old_count=old,
        new_count=new,
        proven_count=proven,
        surge_ratio=surge,
        old_per_new=old_per_new,
    )


@pytest.mark.parametrize(
    ("state", "new", "drained"),
    [
        (rollout(4, 4, 0, 0), 2, 0),
        (rollout(4, 4, 2, 1), 2, 1),
        (rollout(4, 2, 2, 2), 3, 0),
        (rollout(4, 1, 3, 3), 4, 0),
        (rollout(1, 1, 0, 0), 1, 0),
        (rollout(1, 1, 1, 1), 1, 1),
        (rollout(100, 98, 2, 2), 27, 0),
        (rollout(100, 100, 0, 0, 1.0), 2, 0),
        (rollout(100, 98, 2, 2, 1.0), 100, 0),
        (rollout(20, 4, 0, 0), 16, 0),
        (rollout(0, 4, 2, 1), 0, 4),
        (rollout(3, 0, 1, 1), 3, 0),
        (rollout(2, 6, 0, 0, old_per_new=3.0), 2, 0),
        (rollout(2, 6, 1, 1, old_per_new=3.0), 2, 3),
        (rollout(20, 54, 2, 2, old_per_new=3.0), 7, 0),
        (rollout(20, 30, 2, 2, old_per_new=1.5), 5, 3),
    ],
)
def test_canaries_first_then_waves(state: Rollout, new: int, drained: int) -> None:
    assert (wanted_new_count(state), old_to_drain_count(state)) == (new, drained)


@given(
    target=st.integers(1, 300),
    old=st.integers(0, 300),
    new=st.integers(0, 300),
    proven=st.floats(0, 1),
    surge=st.floats(0.01, 1),
    old_per_new=st.floats(1, 300),
)
def test_never_fewer_than_wanted_stay_and_never_more_than_the_surge_come(
    target: int, old: int, new: int, proven: float, surge: float, old_per_new: float
) -> None:
    state = rollout(target, old, new, int(new * proven), surge, old_per_new=old_per_new)
    left = old - old_to_drain_count(state)
    assert left >= 0
    assert left + state.proven_count >= min(target, old + state.proven_count)
    assert left >= min(old, int((target - state.proven_count) * old_per_new))
    coming, places = wanted_new_count(state), replace(state, old_count=left).old_places
    beyond = max(CANARY_COUNT, state.surge_count)
    assert coming <= max(new, target)
    assert coming + places <= max(target + beyond, places + new)
