"""``rabbitmqctl`` on a private node: troubles that only a broker's operator can make, and what only he sees."""

from __future__ import annotations

import subprocess

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.broker.private.node import NODE
from hermes_ray.errors import OperationFailed

TIMEOUT_S = 60.0


def ctl(broker: LocalBroker, *arguments: str) -> str:
    """What ``rabbitmqctl`` says to ``arguments`` on this node; ``OperationFailed`` with its words if it refuses."""
    command = [str(broker._scripts / "rabbitmqctl"), "--quiet", "--node", NODE, *arguments]
    result = subprocess.run(
        command, env=broker._environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if result.returncode != 0:
        words = " ".join((result.stderr or result.stdout).split())
        raise OperationFailed(f"rabbitmqctl {arguments[0]} failed: {words}")
    return result.stdout
