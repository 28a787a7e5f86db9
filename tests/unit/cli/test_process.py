"""How a command's process ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINGERS = """
import threading

threading.Thread(target=threading.Event().wait).start()

def handle(message): ...
"""
POOLS = """
from concurrent.futures import ProcessPoolExecutor

pool = ProcessPoolExecutor(1)
print(pool.submit(abs, -1).result())

def handle(message): ...
"""
COMMAND = """
from hermes_ray.cli.process import end_where_handlers_were
from hermes_ray.cli.working_directory import import_from_here, load_here

import_from_here()
load_here("leaves:handle", {})
print("said")
end_where_handlers_were(3)
"""


@pytest.mark.parametrize(("module", "said"), [(LINGERS, "said\n"), (POOLS, "1\nsaid\n")], ids=["thread", "pool"])
def test_what_a_handler_leaves_at_work_does_not_keep_a_command_that_has_loaded_it(
    module: str, said: str, tmp_path: Path
) -> None:
    """Nor does a process of a pool keep who reads what the command says."""
    (tmp_path / "leaves.py").write_text(module)
    command = [sys.executable, "-c", COMMAND]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, said), done.stderr
