"""What runs in the demo's session; it ends with the process outside, which ends what is left of it.

Nothing but the entry: what takes a second to import is imported where an interruption is expected already.
"""

from __future__ import annotations

import signal
import sys

from hermes_ray.demo.children import end_with_parent
from hermes_ray.errors import HermesError

__all__ = ["main"]

INTERRUPTED = 130


def main() -> None:
    """``python -m hermes_ray.demo.inside [KEY=VALUE]...``: exit code 0, 1 or 2, or 130 when it was interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        end_with_parent()
        from hermes_ray.demo.play import demo

        code = demo(sys.argv[1:])
    except HermesError as error:
        print(f"hermes: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
