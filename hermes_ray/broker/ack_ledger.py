"""Which acks go on the wire: the delivery tags of one channel."""

from __future__ import annotations

__all__ = ["AckLedger"]


class AckLedger:
    """The delivery tags of one channel epoch: what is open, what may be acked, in how few frames.

    Tags count up from 1 on a channel. ``multiple=True`` is used for the contiguous prefix of tags only, so it never
    covers one that still runs, is buffered or waits for a confirm; tags settled beyond the prefix get an ack each, so a
    slow early message holds nothing back. Not thread-safe: one I/O thread owns it.
    """

    __slots__ = ("_gone", "_last", "_prefix", "_settled")

    def __init__(self) -> None:
        self._last = 0  # the highest tag delivered
        self._prefix = 0  # the broker holds no tag up to this one for us any more: acked or given back
        self._gone: set[int] = set()  # tags beyond the prefix that the broker no longer holds for us
        self._settled: set[int] = set()  # tags whose ack is due

    def add(self, first: int, last: int) -> None:
        """Deliveries ``first`` to ``last`` arrived.

        Tags missing before ``first`` are of deliveries that pika itself rejected, as it does for a cancelled consumer:
        the broker has them back, and an ack must not wait for them.
        """
        if first > self._last + 1:
            self._gone.update(range(self._last + 1, first))
        self._last = last

    def settle(self, tag: int) -> None:
        """The ack of ``tag`` is due."""
        self._settled.add(tag)

    def give_back(self, tag: int) -> None:
        """``tag`` was nacked on the wire: no ack may follow."""
        self._gone.add(tag)

    @property
    def open_count(self) -> int:
        """Deliveries the broker still holds for this channel."""
        return self._last - self._prefix - len(self._gone)

    @property
    def due_count(self) -> int:
        """Acks not yet taken by ``flush``."""
        return len(self._settled)

    def flush(self) -> list[tuple[int, bool]]:
        """The acks to send now, in order, as ``(tag, multiple)``.

        Of tags 1 to 6 with 3 running and the rest settled: ``[(2, True), (4, False), (5, False), (6, False)]``.
        """
        settled, gone = self._settled, self._gone
        prefix = self._prefix
        covered = 0
        while True:
            tag = prefix + 1
            if tag in settled:
                settled.remove(tag)
                covered = tag
            elif tag in gone:
                gone.remove(tag)
            else:
                break
            prefix = tag
        self._prefix = prefix
        acks = [(covered, True)] if covered else []
        if settled:
            acks.extend((tag, False) for tag in sorted(settled))
            gone.update(settled)
            settled.clear()
        return acks
