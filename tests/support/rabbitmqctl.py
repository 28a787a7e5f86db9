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


def remember_queues(broker: LocalBroker) -> None:
    """Return when what was declared is on the disk: a node killed within 2 s of it may have forgotten its queues."""
    ctl(broker, "eval", "mnesia:sync_log().")


def remake_vhosts(broker: LocalBroker, *, made: range, removed: range) -> None:
    """Make the virtual hosts ``test-{number}`` for each of ``made`` and remove those of ``removed``, all at once."""
    ctl(
        broker,
        "eval",
        f"""
        Name = fun(Number) -> list_to_binary("test-" ++ integer_to_list(Number)) end,
        [ok = rabbit_vhost:delete(Name(N), <<"guest">>) || N <- {list(removed)}],
        [begin
            ok = rabbit_vhost:add(Name(N), <<"guest">>),
            ok = rabbit_auth_backend_internal:set_permissions(
                <<"guest">>, Name(N), <<".*">>, <<".*">>, <<".*">>, <<"guest">>)
         end || N <- {list(made)}].
        """,
    )
