"""The working directory as a place of handlers: on the path of the commands that load them, and of no other."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hermes_ray.cli.process import expect_handlers
from hermes_ray.errors import HermesError, OperationFailed, UserMistake
from hermes_ray.worker.handlers import Handler, load_handler

__all__ = ["import_from_here", "load_here"]


def import_from_here() -> None:
    """Make modules of the working directory importable, once a command has imported its own.

    Raises ``UserMistake`` for one that hides a module of Python's that is in use: here, in Ray's workers and in the
    libraries of handlers whatever needs that module would get the user's.
    """
    for name in sorted(sys.stdlib_module_names & sys.modules.keys()):
        for path in (Path(f"{name}.py"), Path(name, "__init__.py")):
            if path.is_file():
                found = path if path.name != "__init__.py" else path.parent
                raise UserMistake(
                    f"{found} in {Path.cwd()} hides Python's own module {name} from all that needs it: rename it, and "
                    "where a handler is in it topics.NAME.handler too"
                )
    if "" not in sys.path:
        # A console script has not the working directory on its path.
        sys.path.insert(0, "")


def load_here(spec: str, options: Mapping[str, Any]) -> Handler:
    """``load_handler`` in this process; ``OperationFailed`` also where it raises what is no ``Exception``."""
    expect_handlers()
    try:
        return load_handler(spec, options)
    except (HermesError, KeyboardInterrupt):
        raise
    except BaseException as error:
        said = f"handler {spec} raises {type(error).__name__} while it is imported or built: correct it"
        raise OperationFailed(said) from error
