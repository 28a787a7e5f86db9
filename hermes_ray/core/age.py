"""How long the oldest ready message has been there, from cumulative arrivals alone: message number k came when k had.

A queue is first in, first out, so the head of ``ready_count`` messages is the one after the first ``count -
ready_count`` that ever arrived: those in handlers, in wait queues and gone came before it. This is exact up to the
time between two looks, but for two cases. What a dead worker gave back is older than shown, since counts that the head
has passed are forgotten. A retry that came back is younger than shown: it stands at the end of the queue but counts as
one of its first messages, so with as many retries as first arrivals the age may show twice what it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from hermes_ray.core.looks import LEAST_SPACING_S

__all__ = ["Queue", "arrive", "oldest_at_s"]

_MOST_POINTS = 50
_SPACING_RATIO = 1 / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """``(at_s, count)``: messages that ever arrived, as counted at ``at_s``; from the head of the queue to now."""

    points: tuple[tuple[float, float], ...] = ()


def arrive(queue: Queue, at_s: float, count: float, ready_count: int) -> Queue:
    """The queue with one more count, forgetting what came before its head; a count of an earlier time is left out.

    The true count never falls. Where this one is below those before it, they were too high: they counted messages of a
    dead worker twice, or the queue was purged. The points kept lie a sixtieth of the time from head to now apart, and
    no less than the time between two looks: an age of an hour is right within a minute. Of too many points the one that
    lies nearest to the line between its neighbours goes.
    """
    if queue.points and at_s <= queue.points[-1][0]:
        return queue
    points = [(point_s, min(counted, count)) for point_s, counted in queue.points]
    if len(points) > 1 and points[-1][0] - points[-2][0] < _spacing_s(at_s - points[0][0]):
        points.pop()
    points.append((at_s, count))
    head = bisect_right(points, count - ready_count, key=_counted) - 1
    points = points[max(head, 0) :]
    if len(points) > _MOST_POINTS:
        del points[_least_missed(points)]
    return Queue(points=tuple(points))


def oldest_at_s(queue: Queue, ready_count: int) -> float | None:
    """When the first of ``ready_count`` messages arrived; at the first count, if before; None if there are neither.

    Of 10 and 40 messages counted at 100 s and 103 s, the oldest of 15 ready ones is the 26th, which came at 101.6 s.
    """
    points = queue.points
    if ready_count == 0 or not points:
        return None
    # Counts are sums of fractions: what is one message may come out a hair beyond the last count.
    number = min(points[-1][1], points[-1][1] - ready_count + 1)
    after = bisect_left(points, number, key=_counted)
    if after == 0:
        return points[0][0]
    (from_s, first), (to_s, last) = points[after - 1 : after + 1]
    return from_s + (to_s - from_s) * (number - first) / (last - first)


def _spacing_s(span_s: float) -> float:
    return max(LEAST_SPACING_S, _SPACING_RATIO * span_s)


def _least_missed(points: list[tuple[float, float]]) -> int:
    """The point without which the time of any count changes least."""
    least, least_s = 1, float("inf")
    for i in range(1, len(points) - 1):
        (from_s, first), (at_s, count), (to_s, last) = points[i - 1 : i + 2]
        line_s = from_s + (to_s - from_s) * (count - first) / (last - first) if last > first else from_s
        missed_s = abs(at_s - line_s)
        if missed_s < least_s:
            least, least_s = i, missed_s
    return least


def _counted(point: tuple[float, float]) -> float:
    return point[1]
