"""A user of the broker who may not do everything."""

from __future__ import annotations

from hermes_ray.broker.private.local import LocalBroker
from tests.support.rabbitmqctl import ctl

__all__ = ["Account"]


class Account:
    """A user who may do as much as the test says."""

    def __init__(self, broker: LocalBroker, vhost_url: str) -> None:
        self._broker, self._vhost = broker, vhost_url.rpartition("/")[2]
        self._name = f"of-{self._vhost}"
        self.url = vhost_url.replace("guest:guest", f"{self._name}:{self._name}")
        ctl(broker, "add_user", self._name, self._name)

    def may(self, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        ctl(self._broker, "set_permissions", "-p", self._vhost, self._name, configure, write, read)

    def may_have(self, limits: str) -> None:
        """Limits as JSON, such as of channels."""
        ctl(self._broker, "set_user_limits", self._name, limits)

    def end(self) -> None:
        ctl(self._broker, "delete_user", self._name)
