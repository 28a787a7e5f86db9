"""Which code Ray has a copy of, and keeping that."""

from __future__ import annotations

import threading

import pytest

from hermes_ray.cluster import packages
from hermes_ray.cluster.packages import has_own_copy, keep_packages, packages_of


@pytest.mark.parametrize(
    ("environment", "is_copy"),
    [
        ({}, False),
        ({"env_vars": {"A": "1"}}, False),
        ({"working_dir": "/srv/app"}, False),
        ({"working_dir": "local:///srv/app"}, False),
        ({"working_dir": "gcs://_ray_pkg_1.zip"}, True),
        ({"working_dir": "s3://bucket/app.zip"}, True),
    ],
)
def test_a_package_is_a_copy_and_a_directory_is_none(environment: dict[str, object], is_copy: bool) -> None:
    assert has_own_copy(environment) == is_copy


def test_only_the_clusters_own_packages_are_to_be_kept() -> None:
    one = {"working_dir": "gcs://a.zip", "py_modules": ["gcs://b.zip", "s3://c.zip"]}
    assert packages_of(one, {"working_dir": "gcs://a.zip"}, {}) == ["gcs://a.zip", "gcs://b.zip"]


def test_a_package_that_cannot_be_referred_to_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def refer(uri: str, lasts_s: int) -> None:
        if uri == "gcs://a.zip":
            raise ConnectionError("the store is away")
        kept.append((uri, lasts_s))

    monkeypatch.setattr(packages, "refer_to_package", refer)
    over = threading.Event()
    over.set()
    keep_packages(["gcs://a.zip", "gcs://b.zip"], over)
    assert kept == [("gcs://b.zip", packages.KEPT_FOR_S)]
    assert packages.KEPT_FOR_S > 2 * packages.KEEP_EVERY_S, "one failure loses nothing"
