"""``make`` lists its targets; ``make fix`` formats, and fixes what it can without a change of meaning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live import ROOT

UGLY = "import os\nimport json\n\n\ndef name( x ):\n    '''The name.'''\n    return json.dumps( x )\n"
NEAT = 'import json\n\n\ndef name(x):\n    """The name."""\n    return json.dumps(x)\n'
WRONG = '\n\ndef compare(x: object) -> bool:\n    """Whether it is."""\n    return x == None\n'  # its fix is unsafe


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with the Makefile, the settings and the environment of this project, and no code."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    return tmp_path


def make(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run it without installing anything."""
    words = ["make", "--no-print-directory", "--assume-old=.venv/.installed", target]
    return subprocess.run(words, cwd=clone, capture_output=True, text=True, timeout=60, check=False)


def test_fix_formats_and_applies_safe_fixes(clone: Path) -> None:
    (clone / "ugly.py").write_text(f'"""A module."""\n\n{UGLY}')
    done = make(clone, "fix")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "ugly.py").read_text() == f'"""A module."""\n\n{NEAT}'


def test_fix_leaves_alone_and_names_what_a_person_has_to_judge(clone: Path) -> None:
    (clone / "wrong.py").write_text(f'"""A module."""\n{WRONG}')
    done = make(clone, "fix")
    assert done.returncode != 0
    assert "E711" in done.stdout
    assert "x == None" in (clone / "wrong.py").read_text()


def test_help_lists_every_target_that_contributing_names(clone: Path) -> None:
    listed = set(re.findall(r"^make ([a-z-]+) ", make(clone, "help").stdout, re.MULTILINE))
    table = re.findall(r"^\| (`make .*?) \|", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for words in table for name in re.findall(r"`make ([a-z-]+)`", words)}
    assert listed == named | {"help"}
