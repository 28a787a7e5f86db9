"""``make demo``: a private broker, a local Ray, three topics under 90 seconds of load, and an account of it.

Everything runs in a session apart: whatever the demo has started is gone when it ends, also when it is interrupted.
"""

from __future__ import annotations

import sys

from hermes_ray.demo.children import run_apart

__all__ = ["main"]

KILLED_BY_USER = 130


def main() -> None:
    """``python -m hermes_ray.demo [KEY=VALUE]...``: exit code 0, 1 or 2, or 130 when it was interrupted."""
    code, signalled = run_apart([sys.executable, "-m", "hermes_ray.demo.inside", *sys.argv[1:]])
    if signalled and code != 0:
        print("stopped; nothing was left running", file=sys.stderr)
        sys.exit(KILLED_BY_USER)
    sys.exit(code if code >= 0 else 1)


if __name__ == "__main__":
    main()
