"""Who gets how many workers when not everything fits: minimums first, then strictly by weight, in whole workers.

Places are found on real nodes, never in a pooled sum, so a grant always has a packing. Minimums are reserved first,
in an order that no weight enters, and where they leave a place for the first worker of each other topic if a way is
found. Then the rest goes out class by class: the heavier first, and within one weight topics whose workers have the
same size share, smaller sizes before larger. A class takes what it wants or all that fits; inside it the topic with the
fewest workers is served next.

Nobody starves beside its equals: where a class would leave no place for the first workers of larger ones of the same
weight, those are placed before its extras, each on the node where it costs the class the fewest; its own firsts come
before theirs. (Whether all firsts fit is searched for with a bounded effort: certain for ten of them on a few nodes, a
way may be missed for more.) A topic that gets nothing where it is its turn has its first where minimums and heavier
ones can be packed otherwise and lose nothing.

Raising a topic's weight never lowers its grant while the minimums fit. Reservations are the same before and after. A
class sees what the classes before it left, and placing k workers of one size lowers the number of that size that still
fit by exactly k, wherever they are put. (They are put on the smallest node first, so that what is large, or has a GPU,
is left for those that fit nowhere else.) So a topic that moves ahead of others finds at least the room it found before,
and one that joins a class gets at least what the class would have left it. For the same reason the heavier of two like
topics never gets less. (Sharing one by one between *different* sizes of equal weight would break this: a worker that
takes another's node pushes it onto a third one's.) One thing comes first: an equal that had nothing may get its first
worker in place of the extras of a topic that was raised to its weight.

Who lives where does not enter, and nobody can pass it in: on constant demand grants stay what they are, whatever moves.
(Where it did, with several resources, two grants each made the state that led to the other, and workers came and went
every 2 s.)

When the minimums do not all fit, they are served first, by the same rule, and what is left, where none of the others
fits, goes out as always. A minimum that does not fit even into the empty cluster is first cut to what does.

The packing shows that the grants are possible; where workers really go, beside those that live, is for ``placement``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hermes_ray.core.firsts import MOST_FIRSTS, Effort, Nodes, first_places
from hermes_ray.core.model import Capacity
from hermes_ray.core.repacking import Repacking
from hermes_ray.core.resources import Resources, Size, amounts_of, fit_count, free_of, shortage, size_of, take, total_of
from hermes_ray.core.serving import Claim, Placement, serve_by_weight, take_up_to

__all__ = ["Allotment", "Placement", "Want", "allocate", "allot", "left_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A topic asks for ``target`` workers of ``size``, ``minimum`` of them before anybody's extras."""

    topic: str
    weight: float
    minimum: int
    target: int
    size: Resources = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """A packing of the grants. Workers that take nothing fit anywhere: they are shown on the node ``""``.

    ``lacks``: what keeps one more worker of a topic that got less than it wants off the node where least is missing.
    """

    placement: Placement
    lacks: Mapping[str, str]

    def grant(self, topic: str) -> int:
        """The workers that ``topic`` gets."""
        return sum(self.placement[topic].values())


def allocate(wants: Sequence[Want], capacity: Capacity) -> dict[str, int]:
    """Workers granted to each topic, between its minimum and its target as far as there is room.

    Two topics of weight 10 and 1 that both want 8 of the 8 places of a cluster, with a minimum of 1: 7 and 1.
    """
    shared = allot(wants, capacity)
    return {want.topic: shared.grant(want.topic) for want in wants}


def allot(wants: Sequence[Want], capacity: Capacity) -> Allotment:
    """Share the cluster: who gets how many, a packing of it, and what is missing for more."""
    claims = sorted((_claim(want) for want in wants), key=lambda claim: (-claim.weight, claim.size, claim.topic))
    free: Nodes = {node.node_id: free_of(node.available) for node in capacity.smallest_first()}
    floors = {c.topic: min(c.minimum, c.target, _room(free, c.size, c.minimum)) for c in claims}
    rest = {node_id: dict(amounts) for node_id, amounts in free.items()}
    placed, effort = _reserve(claims, floors, rest), Effort()
    if all(sum(placed[topic].values()) == floor for topic, floor in floors.items()):
        if (beside := _reserve_beside_firsts(claims, floors, free, rest, effort)) is not None:
            placed, rest = beside, free
    else:
        placed, rest = {claim.topic: {} for claim in claims}, free
        serve_by_weight(claims, floors, placed, rest, effort)
    targets = {claim.topic: claim.target for claim in claims}
    repacking = Repacking({claim.topic: claim.size for claim in claims if claim.size}, placed, rest, capacity)
    if serve_by_weight(claims, targets, placed, rest, effort, repacking):
        serve_by_weight(claims, targets, placed, rest, effort)  # room that others' moves have made
    lacks: dict[Size, str] = {}
    short = [claim for claim in claims if sum(placed[claim.topic].values()) < claim.target]
    for claim in short:
        if claim.size not in lacks:
            lacks[claim.size] = shortage(rest.values(), claim.size)
    return Allotment(placement=placed, lacks={claim.topic: lacks[claim.size] for claim in short})


def left_of(capacity: Capacity, placement: Placement, sizes: Mapping[str, Resources]) -> Capacity:
    """The room that is left where ``placement``, of workers of these ``sizes``, has come true."""
    free = {node.node_id: free_of(node.available) for node in capacity.nodes}
    for topic, places in placement.items():
        if size := size_of(sizes[topic]):
            for node_id, count in places.items():
                take(free[node_id], size, count)
    return replace(capacity, nodes=tuple(replace(n, available=amounts_of(free[n.node_id])) for n in capacity.nodes))


def _claim(want: Want) -> Claim:
    size = size_of(want.size)
    return Claim(topic=want.topic, weight=want.weight, minimum=want.minimum, target=want.target, size=size)


def _reserve(claims: Sequence[Claim], floors: Mapping[str, int], free: Nodes) -> Placement:
    """Places for the minimums, those that take the largest part of the cluster first; what they use leaves ``free``."""
    totals = total_of(free.values())

    def largest_first(claim: Claim) -> tuple[float, str]:
        share = max((amount / totals[name] for name, amount in claim.size if totals.get(name)), default=0.0)
        return (-share, claim.topic)

    in_order = sorted(claims, key=largest_first)
    return {claim.topic: take_up_to(free, claim.size, floors[claim.topic]) for claim in in_order}


def _reserve_beside_firsts(
    claims: Sequence[Claim], floors: Mapping[str, int], free: Nodes, rest: Nodes, effort: Effort
) -> Placement | None:
    """Other places for the minimums, where those that left ``rest`` leave none for the first worker of another topic.

    None where that is not so, or not all fit side by side; else what the minimums use leaves ``free``.
    """
    firsts = [
        (claim.size, claim.topic)
        for claim in claims
        if claim.size and claim.target and not floors[claim.topic] and _room(free, claim.size, 1)
    ]
    sized = [claim for claim in claims if claim.size and floors[claim.topic]]
    count = sum(floors[claim.topic] for claim in sized) + len(firsts)
    if not sized or count > MOST_FIRSTS or len(first_places(rest, firsts, effort)) == len(firsts):
        return None
    minimums = [(claim.size, f"{claim.topic} {n}") for claim in sized for n in range(floors[claim.topic])]
    found = first_places(free, [*minimums, *firsts], effort)
    if len(found) < count:
        return None
    placed: Placement = {c.topic: {"": floors[c.topic]} if floors[c.topic] and not c.size else {} for c in claims}
    for size, name in minimums:
        here, node_id = placed[name.partition(" ")[0]], found[name]
        here[node_id] = here.get(node_id, 0) + 1
        take(free[node_id], size)
    return placed


def _room(free: Nodes, size: Size, most: int) -> int:
    """Places of this size, counted no further than ``most``."""
    if not size:
        return most if free else 0
    room = 0
    for node in free.values():
        if room >= most:
            break
        room += fit_count(node, size)
    return min(most, room)
