"""``make demo``: a private broker, a local Ray, three topics under 90 seconds of load, and an account of it.

Nothing but the entry: what takes a second to import is imported where Ctrl-C is expected already.
"""

from __future__ import annotations

import signal
import sys

from hermes_ray.errors import HermesError

__all__ = ["main"]

KILLED_BY_USER = 130


def main() -> None:
    """``python -m hermes_ray.demo [KEY=VALUE]...``: exit code 0, 1 or 2, or 130 when it was interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from hermes_ray.demo.play import demo

        code = demo(sys.argv[1:])
    except HermesError as error:
        print(f"hermes: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("stopped; nothing was left running", file=sys.stderr)
        code = KILLED_BY_USER
    sys.exit(code)


if __name__ == "__main__":
    main()
