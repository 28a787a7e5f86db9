"""The identity of the code that a deployment runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import hermes_ray
from hermes_ray.deploy.fingerprint import code_identity


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's working directory."""
    for name, text in {"handlers.py": "def f(): ...", "shop/__init__.py": "", "shop/mail.py": "SENDER = 1"}.items():
        put(tmp_path / "project" / name, text)
    return tmp_path / "project"


def put(path: Path, text: str = "x = 1") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def identity(directory: Path) -> str:
    return code_identity(directory, ["handlers:f"])


def test_it_is_the_same_wherever_the_directory_lies(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "deep" / "er" / "unpacked"
    shutil.copytree(project, elsewhere)
    assert identity(elsewhere) == identity(project)
    assert len(identity(project)) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda project: put(project / "handlers.py", "def f(): pass"),
        lambda project: put(project / "shop" / "mail.py", "SENDER = 2"),
        lambda project: put(project / "shop" / "new.py", ""),
        lambda project: (project / "shop" / "mail.py").rename(project / "shop" / "post.py"),
        lambda project: (project / "shop" / "mail.py").rename(project / "mail.py"),
        lambda project: (project / "shop" / "mail.py").unlink(),
        lambda project: (project / "shop").rename(project / "store"),
    ],
)
def test_another_content_path_or_set_of_files_is_another_code(project: Path, change: Callable[[Path], object]) -> None:
    before = identity(project)
    change(project)
    assert identity(project) != before


def test_contents_that_change_places_are_another_code(project: Path) -> None:
    before = identity(project)
    put(project / "handlers.py", "SENDER = 1")
    put(project / "shop" / "mail.py", "def f(): ...")
    assert identity(project) != before


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_mail.py",
        "shop/tests/conftest.py",
        ".git/hooks/hook.py",
        ".venv/lib/site.py",
        "shop/.cache/x.py",
        "shop/__pycache__/mail.py",
        "build/lib/handlers.py",
        "dist/handlers.py",
        "node_modules/gyp/gyp.py",
        "shop.egg-info/x.py",
        "conf/hermes.yaml",
        "README.md",
        "shop/mail.pyc",
        "py",
    ],
)
def test_what_no_worker_runs_does_not_matter(project: Path, name: str) -> None:
    before = identity(project)
    put(project / name)
    assert identity(project) == before


def test_an_environment_does_not_matter_whatever_its_name(project: Path) -> None:
    before = identity(project)
    put(project / "shop" / "my env" / "lib" / "python3.11" / "site-packages" / "lib.py")
    assert identity(project) != before
    put(project / "shop" / "my env" / "pyvenv.cfg", "home = /usr/bin")
    assert identity(project) == before


def test_code_below_a_link_is_code_as_if_it_lay_there(project: Path, tmp_path: Path) -> None:
    put(tmp_path / "shared" / "rates.py", "VAT = 19")
    (project / "lib").symlink_to("../shared")
    before = identity(project)
    shutil.copytree(project, tmp_path / "packed")
    assert identity(tmp_path / "packed") == before
    put(tmp_path / "shared" / "rates.py", "VAT = 20")
    assert identity(project) != before


def test_links_that_lead_back_are_not_followed_for_ever(project: Path, tmp_path: Path) -> None:
    before = identity(project)
    (project / "shop" / "all").symlink_to("..")
    (project / "shop" / "self").symlink_to(".")
    assert identity(project) == before
    put(tmp_path / "shared" / "rates.py")
    (project / "lib").symlink_to(tmp_path / "shared")
    once = identity(project)
    (tmp_path / "shared" / "back").symlink_to(project)
    assert identity(project) == once


def test_an_editors_lock_on_a_file_is_no_code(project: Path) -> None:
    before = identity(project)
    (project / ".#handlers.py").symlink_to("me@host.1234:1700000000")
    assert identity(project) == before


def test_handlers_do_not_matter_where_the_directory_has_python_files(project: Path) -> None:
    assert code_identity(project, ["json:loads"]) == code_identity(project, ["nowhere:f"])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package elsewhere on the path, which handlers of a directory without code come from."""
    site = tmp_path / "site"
    put(site / "shop_of_test_code" / "__init__.py", "")
    put(site / "shop_of_test_code" / "mail.py", "def send(message): ...")
    put(site / "broken_of_test_code" / "__init__.py", "raise KeyError('no such shop')")
    put(site / "broken_of_test_code" / "mail.py", "def send(message): ...")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "shop_of_test_code", raising=False)
    return site


def test_in_a_directory_without_python_files_it_is_of_the_handlers_modules(installed: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    put(empty / "hermes.yaml")
    put(empty / "tests" / "test_it.py")
    handlers = ["shop_of_test_code.mail:send", "hermes_ray.samples.raidhub:player_crawl"]
    before = code_identity(empty, handlers)
    assert code_identity(empty, [*reversed(handlers), handlers[0]]) == before
    assert code_identity(tmp_path / "nowhere", handlers) == before
    assert code_identity(empty, handlers[1:]) != before
    put(installed / "shop_of_test_code" / "mail.py", "def send(message): pass")
    assert code_identity(empty, handlers) != before


def test_in_a_directory_without_python_files_it_is_of_hermes_ray_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Path(hermes_ray.__file__).parent
    copy = tmp_path / "copy"
    shutil.copytree(ours, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_identity(tmp_path / "nowhere", [])
    monkeypatch.setattr(hermes_ray, "__file__", str(copy / "__init__.py"))
    assert code_identity(tmp_path / "nowhere", []) == before
    put(copy / "core" / "policy.py", "")
    assert code_identity(tmp_path / "nowhere", []) != before


@pytest.mark.parametrize(
    "handler", ["gone_of_test_code:f", "gone.of.test.code:f", "broken_of_test_code.mail:send", "json:loads", "sys:exit"]
)
def test_a_handler_that_cannot_be_found_is_left_to_the_trial(installed: Path, tmp_path: Path, handler: str) -> None:
    assert len(code_identity(tmp_path / "nowhere", [handler])) == 12
