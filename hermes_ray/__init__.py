"""hermes_ray keeps the right number of workers on every RabbitMQ queue.

The names a handler needs are here; everything else is reached through the ``hermes`` command.
"""

from hermes_ray.errors import PermanentError
from hermes_ray.message import Message

__all__ = ["Message", "PermanentError"]
__version__ = "0.1.0"
