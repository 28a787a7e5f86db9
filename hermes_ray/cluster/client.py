"""A deployment seen from outside: its scaler, asked with a time limit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from hermes_ray import __version__
from hermes_ray.cluster.orphans import orphans
from hermes_ray.cluster.process_end import start_ending
from hermes_ray.cluster.ray_private import process_of
from hermes_ray.cluster.scaler_actor import Scaler
from hermes_ray.cluster.scalers import create_scaler, deployment_names, find_scaler, unpacked
from hermes_ray.cluster.tasks import cause_text
from hermes_ray.config.sentences import nearest
from hermes_ray.errors import HermesError, OperationFailed, UserMistake
from hermes_ray.scaler.plan import Owner, Plan

__all__ = ["AlreadyStarted", "Deployment", "Gone", "Silent"]

SCALER_START_S = 60.0
CALL_TIMEOUT_S = 15.0
ORDER_LASTS_S = 14.0  # less than we wait for its answer: what we call failed is not carried out afterwards
LEAVING_S, CRASHED_S = 15.0, 5.0
LOOK_S = 0.2
HAND_OVER_S = 0.5
AWAY_S = 40.0  # a scaler that Ray restarts, or one that another replaces, is back sooner

OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "pause": {"paused": True},
    "resume": {"paused": False, "pinned_count": None, "pinned_until_s": None},
    "stop": {"stopped": True},
}


class AlreadyStarted(OperationFailed):
    """Another command has put a scaler in place at the same moment."""


class Refused(OperationFailed):
    """The scaler says why it does not do it."""


class Gone(OperationFailed):
    """The scaler has ended, or was replaced."""


class Silent(OperationFailed):
    """The scaler did not answer in time."""


class Deployment:
    """The running deployment ``name``."""

    def __init__(self, name: str, scaler: Any) -> None:
        self.name = name
        self._scaler = scaler
        self._away_since_s: float | None = None

    @classmethod
    def find(cls, name: str) -> Deployment:
        """The deployment called ``name``; raises ``UserMistake`` naming the ones there are.

        Between its two scalers an apply leaves the name to nobody, for less than 0.1 s.
        """
        found = cls.appears(name, HAND_OVER_S)
        if found is None:
            raise UserMistake(_no_deployment(name))
        return found

    @classmethod
    def running(cls, name: str) -> Deployment | None:
        """The deployment called ``name``, None if there is none."""
        scaler = find_scaler(name)
        return None if scaler is None else cls(name, scaler)

    @classmethod
    def appears(cls, name: str, within_s: float) -> Deployment | None:
        """The deployment called ``name`` once it has a scaler, None if it has none ``within_s`` from now."""
        deadline_s = time.monotonic() + within_s
        while (found := cls.running(name)) is None and time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
        return found

    @classmethod
    def start(cls, plan: Plan) -> Deployment:
        """Start the scaler of ``plan``; raises ``AlreadyStarted``, or ``UserMistake`` if it does not want to."""
        name = plan.config.deployment.name
        try:
            deployment = cls(name, create_scaler(Scaler, name, plan))
        except ValueError:
            raise AlreadyStarted(
                f"another command has just started the deployment {name}: run this one again"
            ) from None
        except RayError as error:
            raise OperationFailed(f"the scaler did not start: {cause_text(error)}") from error
        try:
            deployment._ask("ping", timeout_s=SCALER_START_S)
        except UserMistake:
            ray.kill(deployment._scaler, no_restart=True)
            raise
        return deployment

    # Looks

    def status(self) -> dict[str, Any]:
        """See ``Scaler.status``."""
        return self._answer("status")

    def applied(self) -> dict[str, Any]:
        """See ``Scaler.applied``."""
        return self._answer("applied")

    def plan(self) -> Plan | None:
        """The plan that runs, secrets and all; None if it is of another version of hermes_ray."""
        version, pieces = self._ask("plan")
        if version != __version__:
            return None
        plan: Plan = unpacked(pieces)
        return plan

    def workers(self) -> list[dict[str, Any]]:
        """See ``Scaler.workers``."""
        rows: list[dict[str, Any]] = self._ask("workers")
        return rows

    def decisions(self, since_s: float, topic: str | None = None) -> list[dict[str, Any]]:
        """Decisions that changed a target since ``since_s`` (Unix seconds), of one topic or all, oldest first."""
        topics = list(self.status()["topics"]) if topic is None else [self.known(topic)]
        rows: list[dict[str, Any]] = [row for name in topics for row in self._answer("decisions", name)["recent"]]
        return sorted((row for row in rows if row["at"] >= since_s), key=lambda row: row["at"])

    def why(self, topic: str) -> dict[str, Any]:
        """What rules ``topic`` now, and the last decisions that changed its target."""
        status, said = self.status(), self._answer("decisions", self.known(topic))
        state = status["topics"][topic]
        kept = {key: state[key] for key in ("override", "conditions", "start_error", "depth_error")}
        kept["single_active"] = state.get("single_active", False)  # a scaler of before has none
        shown = {"topic": topic, "stopping": status["stopping"], "now": said["now"], "decisions": said["recent"]}
        return shown | kept

    def follow(self, cursor: int, driver: str | None = None) -> dict[str, Any] | None:
        """See ``Scaler.follow``; None while the scaler is away: Ray restarts it, or another one takes its place."""
        try:
            answer = self._answer("follow", cursor, driver)
        except OperationFailed:
            now_s = time.monotonic()
            self._away_since_s = self._away_since_s or now_s
            if now_s - self._away_since_s > AWAY_S:
                raise
            self._scaler = find_scaler(self.name) or self._scaler
            return None
        self._away_since_s = None
        return answer

    # Orders

    def stop(self, kill: bool = False) -> float:
        """Hand over the stop order; returns, once the scaler has it, the seconds that running handlers have."""
        left_s: float = self._command("stop", kill)
        return left_s

    def own(self, owner: Owner) -> None:
        """See ``Scaler.own``."""
        self._command("own", owner)

    def override(
        self, topic: str, action: str, count: int | None = None, for_s: float | None = None
    ) -> dict[str, Any] | None:
        """Pause, resume, pin (to ``count`` workers, for ``for_s`` or until resumed) or stop a topic.

        Returns what rules now, as ``hermes status --json`` has it; None: the policy.
        """
        self.known(topic)
        pin = {"pinned_count": count, "pinned_until_s": None}
        ruling: dict[str, Any] | None
        ruling = self._command("override", topic, pin if action == "pin" else OVERRIDES[action], for_s)
        return ruling

    def forget(self, topic: str) -> None:
        """Forget a topic that the configuration leaves out; raises ``UserMistake`` for any other."""
        self._command("forget", topic)

    def hand_over(self, plan: Plan) -> bool:
        """End this scaler so that the one of ``plan`` can take its place; False for one that had to be killed.

        Raises ``Refused`` if it cannot hand over what it knows, and goes on.
        """
        config = plan.config
        try:
            self._command("hand_over", config.state_dir, config.broker.urls)
            if self.wait_gone(LEAVING_S):
                return True
        except Refused:
            raise
        except Gone:  # another command replaces it; or it crashed, and Ray starts it again
            if self.wait_gone(CRASHED_S):
                return True
        except OperationFailed:
            pass
        self._kill()
        return False

    def _kill(self) -> None:
        """End a scaler that does not answer, and its process: Ray leaves one alive that cannot act on being told."""
        ending = None
        with contextlib.suppress(Exception):  # it may have no process yet, or no more
            ending = start_ending(*process_of(self._scaler._actor_id.hex()))
        ray.kill(self._scaler, no_restart=True)
        self.wait_gone(LEAVING_S)
        if ending is not None:
            with contextlib.suppress(RayError):
                ray.get(ending, timeout=LEAVING_S)

    def wait_gone(self, timeout_s: float = 10.0) -> bool:
        """Wait until this scaler has left its name to the next one."""
        deadline_s = time.monotonic() + timeout_s
        while (found := find_scaler(self.name)) is not None and found._actor_id == self._scaler._actor_id:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(0.05)
        return True

    def known(self, topic: str) -> str:
        """The same topic; raises ``UserMistake`` naming the nearest if the deployment has none of that name."""
        topics = self.status()["topics"]
        if topic not in topics:
            raise UserMistake(f"deployment {self.name} has no topic {topic}: {nearest(topic, topics)}")
        return topic

    def _answer(self, method: str, *arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(method, *arguments)
        return answer

    def _command(self, method: str, *arguments: Any) -> Any:
        """Give an order, which is void once we do not wait for its answer any more."""
        return self._ask(method, self._ask("permit", ORDER_LASTS_S), *arguments)

    def _ask(self, method: str, *arguments: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        try:
            return ray.get(getattr(self._scaler, method).remote(*arguments), timeout=timeout_s)
        except GetTimeoutError as error:
            text = f"the scaler of {self.name} did not answer within {timeout_s:.0f} s: hermes apply replaces it"
            raise Silent(text) from error
        except RayTaskError as error:
            if isinstance(error.cause, UserMistake):
                raise UserMistake(str(error.cause)) from error
            if isinstance(error.cause, HermesError):
                raise Refused(str(error.cause)) from error
            raise OperationFailed(f"the scaler of {self.name} could not do it: {cause_text(error)}") from error
        except (RayError, AttributeError) as error:
            text = cause_text(error)
            why = "it has just ended, or another takes over" if "exit_actor" in text else text
            raise Gone(f"the scaler of {self.name} is gone: {why}") from error


def _no_deployment(name: str) -> str:
    names = deployment_names()
    if left := orphans(name):
        count = f"{len(left)} worker{'' if len(left) == 1 else 's'}"
        return (
            f"deployment {name} has no scaler, {count} of it work on: hermes apply or hermes serve takes them over, "
            "hermes stop drains them"
        )
    if not names:
        return f"no deployment runs on this cluster: start one with hermes serve (looked for deployment.name={name})"
    near = (get_close_matches(name, names, 1, 0) or names)[0]
    others = f"{', '.join(names)} {'does' if len(names) == 1 else 'do'}"
    return f"no deployment named {name} runs on this cluster, but {others}: say deployment.name={near}"
