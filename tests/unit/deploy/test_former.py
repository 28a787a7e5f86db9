"""Which plan a rollback goes to after any order of applies that work, fail, change code or settings."""

from __future__ import annotations

from dataclasses import replace

from hermes_ray.config.loading import load
from hermes_ray.deploy.former import former_of
from hermes_ray.scaler.plan import Plan

BASE = Plan(config=load(None, ["topics.a.handler=m:f", "broker.url=amqp://h"]), concurrency={"a": 4})


def plan(generation: int, code: str, *, rolled: int = 0) -> Plan:
    return replace(BASE, generation=generation, code=code, rolled=rolled)


def applied(plan: Plan, running: Plan, *, works: bool = True) -> Plan:
    """``plan`` once it runs in the place of ``running``."""
    return replace(plan, former=former_of(running, plan), has_worked=works)


def former_generation(plan: Plan) -> int:
    assert plan.former is not None
    assert plan.former.former is None, "one step is kept, not a chain of all that ever ran"
    return plan.former.generation


A = replace(plan(1, "good"), has_worked=True)


def test_the_former_is_what_ran_before() -> None:
    b = applied(plan(2, "new"), A)
    assert former_generation(b) == 1
    assert former_generation(applied(plan(3, "newer"), b)) == 2


def test_code_that_never_worked_is_not_gone_back_to() -> None:
    b = applied(plan(2, "bad"), A, works=False)
    c = applied(plan(3, "bad too"), b, works=False)
    assert former_generation(c) == 1
    assert former_generation(applied(plan(4, "fixed"), c)) == 1
    never = applied(plan(2, "bad"), plan(1, "bad from the start"), works=False)
    assert former_generation(never) == 1, "nothing better is known"


def test_changed_settings_do_not_push_out_the_former_code() -> None:
    b = applied(plan(2, "new"), A)
    c = applied(plan(3, "new"), b)
    assert former_generation(c) == 1
    assert former_generation(applied(plan(4, "newer"), c)) == 3


def test_where_only_settings_ever_changed_the_former_has_the_settings_of_before() -> None:
    b = applied(plan(2, "good"), A)
    assert former_generation(b) == 1
    assert former_generation(applied(plan(3, "good"), b)) == 2


def test_the_old_code_applied_by_hand_leaves_the_way_forward() -> None:
    b = applied(plan(2, "bad"), A, works=False)
    assert former_generation(applied(plan(3, "good"), b)) == 2


def test_a_forced_roll_out_counts_as_other_code() -> None:
    b = applied(plan(2, "good", rolled=2), A)
    assert former_generation(applied(plan(3, "good", rolled=2), b)) == 1
