"""Event loops that handlers share, which none of them can end."""

from __future__ import annotations

import asyncio

from hermes_ray.logs import Log

__all__ = ["run_for_ever"]

log = Log(__name__)


def run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    """Run ``loop`` in this thread, whatever runs in it: a SystemExit in a task is passed on and stops it."""
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:
            log.exception("something in the handlers' event loop tried to end it")
        else:
            log.error("something in the handlers' event loop stopped it")
