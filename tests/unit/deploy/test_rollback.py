"""What there is to go back to, and what is said where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hermes_ray.cluster.client import Deployment
from hermes_ray.config.loading import load
from hermes_ray.deploy import apply as apply_module
from hermes_ray.deploy.apply import former_plan
from hermes_ray.errors import UserMistake
from hermes_ray.scaler.plan import Plan

PLAN = Plan(config=load(None, ["topics.a.handler=m:f", "broker.url=amqp://h"]), concurrency={"a": 4})
FORMER = replace(PLAN, import_paths=("/srv/app",), environment={"working_dir": "gcs://_ray_pkg_1.zip"})


class Running(Deployment):
    """A deployment that runs ``plan``."""

    def __init__(self, plan: Plan | None) -> None:
        super().__init__("shop", None)
        self._plan = plan

    def plan(self) -> Plan | None:
        return self._plan


@pytest.fixture(autouse=True)
def lost(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The packages that Ray has no more."""
    gone: list[str] = []
    monkeypatch.setattr(apply_module, "lost_packages", lambda environment: gone)
    return gone


def refusal(plan: Plan | None) -> str:
    with pytest.raises(UserMistake) as caught:
        former_plan(Running(plan))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_copy_that_ray_has_is_what_to_go_back_to() -> None:
    assert former_plan(Running(replace(PLAN, former=FORMER))) == FORMER


def test_where_there_is_nothing_to_go_back_to_the_sentence_says_why_and_what_to_do(lost: list[str]) -> None:
    for unknown in (None, PLAN):
        assert refusal(unknown) == "deployment shop cannot roll back: nothing is known of what ran before"
    for environment in ({}, {"working_dir": "local:///srv/app"}):
        said = refusal(replace(PLAN, former=replace(FORMER, environment=environment)))
        assert "its former code was read from /srv/app, of which there is no copy: put it back there" in said
    lost.append("gcs://_ray_pkg_1.zip")
    assert "no longer has its former code (gcs://_ray_pkg_1.zip)" in refusal(replace(PLAN, former=FORMER))
