"""Which acks go on the wire: the delivery tags of one channel."""

from __future__ import annotations

from bisect import bisect

__all__ = ["AckLedger"]


class AckLedger:
    """The delivery tags of one channel epoch: what is open, what may be acked, in how few frames.

    Tags count up from 1 on a channel. ``multiple=True`` is used for the contiguous prefix of tags only, so it never
    covers one that still runs, is buffered or waits for a confirm; tags settled beyond the prefix get an ack each, so a
    slow early message holds nothing back. It keeps the open tags alone, so that it is as large as the prefetch,
    whatever came after one that runs for hours. Not thread-safe: one I/O thread owns it.
    """

    __slots__ = ("_due", "_lowest", "_open")

    def __init__(self) -> None:
        self._open: set[int] = set()  # tags that the broker holds for us
        self._lowest = 1  # none below it is open
        self._due: list[int] = []  # open tags whose ack is to be sent

    def add(self, first: int, last: int) -> None:
        """Deliveries ``first`` to ``last`` arrived.

        Tags missing before ``first`` are of deliveries that pika itself rejected, as it does for a cancelled consumer:
        the broker has them back, and an ack must not wait for them.
        """
        self._open.update(range(first, last + 1))

    def settle(self, tag: int) -> None:
        """The ack of ``tag`` is due."""
        self._due.append(tag)

    def give_back(self, tag: int) -> None:
        """``tag`` was nacked on the wire: no ack may follow."""
        self._open.discard(tag)

    @property
    def open_count(self) -> int:
        """Deliveries the broker still holds for this channel."""
        return len(self._open)

    @property
    def due_count(self) -> int:
        """Acks not yet taken by ``flush``."""
        return len(self._due)

    def flush(self) -> list[tuple[int, bool]]:
        """The acks to send now, in order, as ``(tag, multiple)``.

        Of tags 1 to 6 with 3 running and the rest settled: ``[(2, True), (4, False), (5, False), (6, False)]``.
        """
        if not self._due:
            return []
        due, self._due = sorted(self._due), []
        self._open.difference_update(due)
        self._lowest = self._lowest_open() or due[-1] + 1
        covered_count = bisect(due, self._lowest)
        acks = [(due[covered_count - 1], True)] if covered_count else []
        acks.extend([(tag, False) for tag in due[covered_count:]])
        return acks

    def _lowest_open(self) -> int | None:
        """The lowest open tag: mostly a step away. Behind one that was open for hours there are millions to pass."""
        open_, lowest = self._open, self._lowest
        for tag in range(lowest, lowest + len(open_)):
            if tag in open_:
                return tag
        return min(open_, default=None)
