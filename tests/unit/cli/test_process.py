"""How a command's process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LINGERS = """
import threading

threading.Thread(target=threading.Event().wait).start()

def handle(message): ...
"""
COMMAND = """
from hermes_ray.cli.process import end
from hermes_ray.cli.working_directory import import_from_here, load_here

import_from_here()
load_here("lingers:handle", {})
print("said")
end(3)
"""


def test_a_thread_that_a_handler_leaves_does_not_keep_a_command_that_has_loaded_it(tmp_path: Path) -> None:
    (tmp_path / "lingers.py").write_text(LINGERS)
    command = [sys.executable, "-c", COMMAND]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "said\n"), done.stderr
