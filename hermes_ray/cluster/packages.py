"""The code of a job as Ray keeps it: packages that live as long as somebody refers to them.

A job with a working directory puts a copy of it into the cluster, ``gcs://_ray_pkg_HASH.zip``. Ray deletes that once
the job and the last detached actor made by it are gone: a roll-out that is through would take the former code with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import ray

from hermes_ray.cluster.ray_private import has_package, refer_to_package

__all__ = ["has_own_copy", "job_environment", "keep_packages", "lost_packages", "packages_of"]

log = logging.getLogger(__name__)

KEEP_EVERY_S = 60.0
KEPT_FOR_S = 600  # the scaler may be away for so long: restarted, on another node, killed by an apply


def job_environment() -> dict[str, Any]:
    """The runtime environment of this process's job, in which its actors and theirs run; empty of a plain command."""
    return dict(ray.get_runtime_context().runtime_env.to_dict())


def has_own_copy(environment: Mapping[str, Any]) -> bool:
    """Whether the code of ``environment`` is a copy that nobody edits: a package, not a directory on the nodes."""
    directory = str(environment.get("working_dir", ""))
    return "://" in directory and not directory.startswith("local://")


def packages_of(*environments: Mapping[str, Any]) -> list[str]:
    """The packages of ``environments`` that the cluster itself keeps; those at S3 and the like are kept there."""
    return sorted({uri for environment in environments for uri in _uris(environment) if uri.startswith("gcs://")})


def lost_packages(environment: Mapping[str, Any]) -> list[str]:
    """The packages of ``environment`` that the cluster has no more."""
    return [uri for uri in packages_of(environment) if not has_package(uri)]


def keep_packages(packages: Collection[str], over: threading.Event) -> None:
    """Refer to ``packages`` until ``over``, and 10 minutes beyond, so that Ray does not delete them."""
    while True:
        for uri in packages:
            try:
                refer_to_package(uri, KEPT_FOR_S)
            except Exception as error:  # the cluster's store is away: the last reference lasts until it is back
                log.warning("%s may be deleted in %d s: %s", uri, KEPT_FOR_S - KEEP_EVERY_S, error)
        if over.wait(KEEP_EVERY_S):
            return


def _uris(environment: Mapping[str, Any]) -> Iterator[str]:
    yield str(environment.get("working_dir", ""))
    yield from map(str, environment.get("py_modules") or ())
