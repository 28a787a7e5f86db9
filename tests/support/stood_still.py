"""A process that handles one message of half a second, then says what it took; somebody stops it meanwhile.

With ``lock`` as argument nobody stops it: its handler keeps the interpreter's lock for 2.5 s instead.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

from hermes_ray import Message
from tests.support.slot_rig import Rig


def handle(_message: Message) -> None:
    if "lock" in sys.argv:
        ctypes.PyDLL(None).usleep(2_500_000)  # unlike CDLL, it does not let go of the lock
    else:
        os.write(1, b"running\n")
        time.sleep(0.5)


async def handle_async(message: Message) -> None:
    handle(message)


def main() -> None:
    """Print what the message took, as the slot counted it."""
    made = Rig(handle_async if "loop" in sys.argv else handle)
    never = threading.Event()
    threading.Thread(target=made.standstill.wait, args=(never, 60.0), daemon=True).start()
    made.handle(b"")
    runs = made.slots.figures().runs
    os.write(1, f"{runs.finished_s} {runs.busy_s}\n".encode())


if __name__ == "__main__":
    main()
