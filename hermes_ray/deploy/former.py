"""Which plan ``hermes rollback`` goes back to; pure."""

from __future__ import annotations

from dataclasses import replace

from hermes_ray.scaler.plan import Plan

__all__ = ["former_of", "has_same_code"]


def former_of(running: Plan, following: Plan) -> Plan:
    """What a rollback of ``following``, which is about to replace ``running``, is to go back to.

    ``running``, with two exceptions that leave it at the former of ``running``: that never worked, since its canaries
    failed and old workers are still there; or it has the code of ``following``, since settings are at hand and former
    code is not. With A good, B failing and C the next try at a fix: A.
    """
    kept = running.former
    is_worth_less = not running.has_worked or has_same_code(running, following)
    if kept is not None and is_worth_less and not has_same_code(kept, following):
        return kept
    return replace(running, former=None)


def has_same_code(one: Plan, other: Plan) -> bool:
    """Whether workers of both run the same code, as far as ``hermes apply`` tells."""
    return (one.code, one.rolled) == (other.code, other.rolled)
