"""The scaler's memory on disk: one file a deployment, replaced as a whole, without a password in it.

The configuration is not in it: a scaler gets that as its argument, and an apply starts a new scaler. So what Ray hands
a restarted scaler is always what was applied last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hermes_ray.errors import OperationFailed

__all__ = ["STATE_VERSION", "Checkpoint", "checkpoint_path"]

log = logging.getLogger(__name__)

STATE_VERSION = 1


def checkpoint_path(state_dir: str, urls: Sequence[str], name: str) -> Path:
    """``state_dir/BROKER_HASH/NAME.json``; the hash is of the brokers' hosts and virtual host, not of a password."""
    digest = hashlib.sha256(" ".join(sorted(map(_broker, urls))).encode()).hexdigest()[:12]
    return _expanded(state_dir) / digest / f"{name}.json"


def _expanded(state_dir: str) -> Path:
    try:
        return Path(state_dir).expanduser()
    except RuntimeError as error:
        raise OperationFailed(
            f"state_dir is {state_dir!r}, and the scaler's node has no such home: correct it"
        ) from error


class Checkpoint:
    """Reads and replaces one file. A file that cannot be used is set aside, never overwritten."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Mapping[str, Any] | None:
        """What was written last; None if there is nothing, or nothing this version understands."""
        try:
            tree = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self.set_aside(str(error))
            return None
        if not isinstance(tree, dict) or tree.get("version") != STATE_VERSION:
            self.set_aside("it is of another version")
            return None
        return tree

    def write(self, tree: Mapping[str, Any]) -> None:
        """Replace the file; it is on disk when this returns. Raises ``OSError``."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        text = json.dumps({**tree, "version": STATE_VERSION}, separators=(",", ":"))  # five times faster than dump
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise

    def set_aside(self, why: str) -> None:
        """Keep an unusable file beside the next one."""
        aside = self.path.with_suffix(".unreadable.json")
        log.warning("%s cannot be used (%s): kept as %s; rates are learnt anew", self.path, why, aside.name)
        with contextlib.suppress(OSError):
            self.path.replace(aside)


def _broker(url: str) -> str:
    """``host:port/vhost``, the same however much of the defaults is written out: ``amqp://h`` is ``h:5672//``."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname}:{port}/{unquote(parts.path[1:]) or '/'}"
