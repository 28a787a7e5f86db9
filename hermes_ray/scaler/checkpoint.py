"""The scaler's memory on disk: one file a deployment, a whole memory and the changes since, without a password in it.

Each record is its length, its checksum and its bytes. A tick appends what changed and syncs; once the changes weigh
half as much as the whole, the file is replaced by a new whole (write, sync, rename). So 1,000 topics and 10,000 workers
cost 1.3 MB a second instead of 10, in 16 MB at most; a write that a crash cut short costs the last tick and no other.

The configuration is not in it: a scaler gets that as its argument, and an apply starts a new scaler. So what Ray hands
a restarted scaler is always what was applied last.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from hermes_ray.errors import OperationFailed
from hermes_ray.scaler.memory import Changes, Memory, decode_what_fits, encode, merged

__all__ = ["CLAIM_TRIES", "STATE_VERSION", "Checkpoint", "checkpoint_path"]

log = logging.getLogger(__name__)

STATE_VERSION = 2
MAGIC = b"hermes_ray memory %d\n" % STATE_VERSION
SAID_NAMES = 5
RECORD = struct.Struct(">II")
LEAST_CHANGES_BYTES, CHANGES_RATIO = 1_000_000, 0.5
# 10 s in all: too many open files or an absent file server often pass by then.
READ_TRIES, READ_PAUSE_S = 50, 0.2
# 30 s in all: Ray takes 20 s to end the process of a scaler that was stopped by a signal and killed for this one.
CLAIM_TRIES, CLAIM_PAUSE_S = 150, 0.2


def checkpoint_path(state_dir: str, urls: Sequence[str], name: str) -> Path:
    """``state_dir/BROKER_HASH/NAME.state``; the hash is of the brokers' hosts and virtual host, not of a password."""
    digest = hashlib.sha256(" ".join(sorted(map(_broker, urls))).encode()).hexdigest()[:12]
    return _expanded(state_dir) / digest / f"{name}.state"


class Checkpoint:
    """Reads and writes one file, its own from ``claim`` or the first write until ``close``: a second is refused it.

    Where the file or its lock is removed or replaced meanwhile, the next whole write claims the place again.
    A file that cannot be used is set aside, never overwritten; ``warning`` says what was lost, for people.
    """

    def __init__(self, path: Path, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.path = path
        self._pause = pause
        self._lock: IO[str] | None = None
        self._file: IO[bytes] | None = None
        self._whole_bytes = 0
        self._changes_bytes = 0
        self.warning: str | None = None

    @property
    def wants_whole(self) -> bool:
        """Whether the next write has to be of everything: the first, now and then, and where others meddled."""
        if self._file is None or self._is_moved():
            return True
        return self._changes_bytes > max(LEAST_CHANGES_BYTES, CHANGES_RATIO * self._whole_bytes)

    def claim(self, *, tries: int = 1) -> None:
        """Make the file ours; raises ``BlockingIOError`` saying whose it is, another ``OSError`` if it cannot be there.

        With more ``tries`` the end of a process that dies is waited for.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        for tries_left in reversed(range(tries)):
            try:
                self._take_lock()
                return
            except BlockingIOError:
                if not tries_left:
                    raise
            self._pause(CLAIM_PAUSE_S)

    def read(self) -> Memory | None:
        """What was written; None if there is nothing, or nothing this version understands.

        An error of the system is waited for, up to 10 s, since a good file would be lost by going on without it; then
        it is raised as ``OSError``.
        """
        content = self._content()
        if content is None:
            return None
        if not content.startswith(MAGIC):
            self.set_aside("it is of another version, or no memory at all")
            return None
        records, lost = _records(content)
        try:
            decoded = list(map(decode_what_fits, records))
            memory = merged(changes for changes, _ in decoded)
        except ValueError as error:
            self.set_aside(str(error))
            return None
        if left_out := list(dict.fromkeys(name for _, names in decoded for name in names)):
            self._warn(f"{self.path} is of another version, what does not fit this one was left out: {_few(left_out)}")
        if lost and (memory is None or lost.strip(b"\0")):
            self._lost(lost, memory)
        return memory

    def write(self, changes: Changes) -> None:
        """Append ``changes``, or replace the file if they are whole; they are on disk when this returns.

        Raises ``OSError``; after one the next write has to be whole, since the file may end in half a record.
        """
        data = encode(changes)
        record = RECORD.pack(len(data), zlib.crc32(data)) + data
        try:
            if changes.is_whole:
                self._replace(record)
            else:
                self._append(record)
        except BaseException:
            self._forget_file()
            raise

    def close(self) -> None:
        """Leave the file to the next scaler."""
        self._forget_file()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def set_aside(self, why: str) -> None:
        """Keep an unusable file beside the next one, unless it is another scaler's: that one may read it well."""
        aside = self.path.with_name(f"{self.path.name}.unreadable-{time.strftime('%Y%m%dT%H%M%S')}")
        with contextlib.suppress(OSError):
            self.claim()
            self.path.replace(aside)
            self._warn(f"the checkpoint {self.path} could not be used ({why}), it is kept as {aside.name}")

    def _lost(self, lost: bytes, memory: Memory | None) -> None:
        """Tell of an end that no record can be made of; a tick is lost to a crash, more to a damaged disk."""
        if memory is None:
            self.set_aside("its first record is damaged")
        else:
            self._warn(f"the last {len(lost)} bytes of {self.path} were not written whole: what they said is lost")

    def _warn(self, warning: str) -> None:
        log.warning("%s", warning)
        self.warning = warning if self.warning is None else f"{self.warning}; {warning}"

    def _content(self) -> bytes | None:
        for tries_left in reversed(range(READ_TRIES)):
            try:
                return self.path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                if not tries_left:
                    raise
                log.warning("%s cannot be read yet: %s", self.path, error)
                self._pause(READ_PAUSE_S)
        return None

    def _replace(self, record: bytes) -> None:
        if self._is_moved():
            log.warning("%s was removed or replaced: it is written anew", self.path)
        self.claim()
        fresh = self.path.with_suffix(f".{os.getpid()}.new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(MAGIC + record)
            os.fsync(descriptor)
            fresh.replace(self.path)
            _sync_directory(self.path.parent)
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        self._forget_file()
        self._file = os.fdopen(descriptor, "ab", buffering=0)
        self._whole_bytes, self._changes_bytes = len(record), 0

    def _append(self, record: bytes) -> None:
        if self._file is None:
            raise OSError("changes can be written after a whole memory only")
        if self._file.write(record) != len(record):
            raise OSError("the disk took a part of it only")
        os.fdatasync(self._file.fileno())
        self._changes_bytes += len(record)

    def _is_moved(self) -> bool:
        """Whether somebody removed or replaced our file or lock: nobody sees what we write then, or whose it is."""
        lock = self.path.with_suffix(".lock")
        return any(
            file is not None and not _is_at(file, path) for file, path in ((self._file, self.path), (self._lock, lock))
        )

    def _forget_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _take_lock(self) -> None:
        path = self.path.with_suffix(".lock")
        if self._lock is not None:
            if _is_at(self._lock, path):
                return
            # A lock that was removed keeps nobody out: another scaler may have made one at its place.
            self._lock.close()
            self._lock = None
        lock = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read(200).strip() or "another process"
            lock.close()
            raise BlockingIOError(
                f"{self.path} belongs to {holder}, of a deployment of this name on another Ray cluster, or left over "
                "from before: stop that one (its process, if no cluster has it any more), or give one of the two "
                "another deployment.name"
            ) from error
        lock.truncate(0)
        lock.write(f"the scaler with pid {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        self._lock = lock


def _records(content: bytes) -> tuple[list[bytes], bytes]:
    """The records up to the first that is not whole, and what is left over from there on.

    A crash may leave half a record, or zeros where one was to be.
    """
    records, at = list[bytes](), len(MAGIC)
    while at + RECORD.size <= len(content):
        size, checksum = RECORD.unpack_from(content, at)
        data = content[at + RECORD.size : at + RECORD.size + size]
        if not size or len(data) < size or zlib.crc32(data) != checksum:
            break
        records.append(data)
        at += RECORD.size + size
    return records, content[at:]


def _few(names: list[str]) -> str:
    more = len(names) - SAID_NAMES
    return ", ".join(names[:SAID_NAMES]) + (f" and {more} more" if more > 0 else "")


def _is_at(file: IO[Any], path: Path) -> bool:
    """Whether what is open is what others find at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _expanded(state_dir: str) -> Path:
    try:
        return Path(state_dir).expanduser()
    except RuntimeError as error:
        raise OperationFailed(
            f"state_dir is {state_dir!r}, and the scaler's node has no such home: correct it"
        ) from error


def _broker(url: str) -> str:
    """``host:port/vhost``, the same however much of the defaults is written out: ``amqp://h`` is ``h:5672//``."""
    parts = urlsplit(url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname}:{port}/{unquote(parts.path[1:]) or '/'}"
