"""What the workers of a plan are made from, worked out once for each plan."""

from __future__ import annotations

from hermes_ray.scaler.plan import Plan, worker_spec
from hermes_ray.worker.spec import WorkerSpec


class PlanSpecs:
    """The specs of the last plan it was asked about: worlds ask for each worker and second."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._specs: dict[str, WorkerSpec] = {}

    def of(self, plan: Plan, topic: str) -> WorkerSpec | None:
        """The spec of a topic; None if the plan has no such topic."""
        if plan is not self._plan:
            self._plan, self._specs = plan, {name: worker_spec(plan, name) for name in plan.config.topics}
        return self._specs.get(topic)
