"""A directory with a file named like a module of Python's own: refused by what loads handlers, nothing to all else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hermes_ray.cli.main import cli

NAMES = ["email", "queue", "calendar", "signal", "http", "select", "logging", "struct", "random"]


def hermes(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("hermes")
    return subprocess.run([script, *words], cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [["try", "t", "--body", "1"], ["check"], ["serve"], ["apply"]], ids=lambda c: c[0])
def test_a_file_that_hides_a_module_of_python_is_named(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "email.py").write_text("def send(message): ...")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, [*command, "topics.t.handler=email:send"])
    said = f"hermes: email.py in {tmp_path} hides Python's own module email from all that needs it: rename it, "
    assert done.exit_code == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_package_hides_a_module_as_a_file_does_and_a_mere_directory_does_not(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text("def handle(message): ...")
    (tmp_path / "email").mkdir()
    words = ["try", "t", "topics.t.handler=handlers:handle", "--body", "1"]
    assert hermes(tmp_path, *words).returncode == 0
    (tmp_path / "email" / "__init__.py").touch()
    assert hermes(tmp_path, *words).stderr.startswith("hermes: email in ")


def test_what_loads_no_handler_minds_no_file(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError")
    assert hermes(tmp_path, "config", "topics.t.handler=email:send").returncode == 0
    assert hermes(tmp_path, "publish", "topic=t", "count=x").stderr.startswith("hermes: count=x is out of range")
