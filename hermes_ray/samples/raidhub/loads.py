"""Message bodies as a day of raiding would make them: a few players play very often, most of them rarely."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["FIRST_PLAYER_ID", "PLAYERS_COUNT", "body", "player_name"]

FIRST_PLAYER_ID = 4_611_686_018_000_000_000
FIRST_INSTANCE_ID = 15_000_000_000
FIRST_CHARACTER_ID = 2_305_843_009_000_000_000
PLAYERS_COUNT = 20_000

_ACTIVITIES = ("Last Wish", "Garden of Salvation", "Vault of Glass", "King's Fall", "Root of Nightmares")
_CLASSES = ("hunter", "titan", "warlock")
_FIRST = ("Amber", "Brave", "Cold", "Dusk", "Ember", "Frost", "Grim", "Hollow", "Iron", "Jade")
_LAST = ("Arrow", "Bastion", "Comet", "Drifter", "Echo", "Falcon", "Ghost", "Hammer", "Ivy", "Jackal")
_DAY_ONE = datetime(2024, 5, 1, 17, tzinfo=UTC)


def body(topic: str, n: int, rng: random.Random) -> bytes:
    """The body of the ``n``-th message (n >= 0) of ``topic``; the same ``n`` and state of ``rng`` give the same bytes.

    Raises ``ValueError`` for a topic the sample does not have.
    """
    make = _MAKERS.get(topic)
    if make is None:
        raise ValueError(f"the sample has no topic {topic}: it has {', '.join(sorted(_MAKERS))}")
    return json.dumps(make(n, rng), separators=(",", ":")).encode()


def player_name(player_id: int) -> str:
    """The name a player has in reports and in the API alike."""
    number = player_id - FIRST_PLAYER_ID
    return f"{_FIRST[number % 10]}{_LAST[number // 10 % 10]}#{number % 9000 + 1000}"


def _player_id(rng: random.Random) -> int:
    return FIRST_PLAYER_ID + int(PLAYERS_COUNT * rng.random() ** 3)


def _report(n: int, rng: random.Random) -> dict[str, Any]:
    duration_s = int(min(rng.lognormvariate(7.6, 0.5), 6 * 3600))  # the median raid takes 33 minutes
    return {
        "instance_id": str(FIRST_INSTANCE_ID + n),
        "activity": rng.choice(_ACTIVITIES),
        "started": (_DAY_ONE + timedelta(seconds=n)).isoformat(),
        "duration_s": duration_s,
        "players": [_line(_player_id(rng), duration_s, rng) for _ in range(rng.choice((1, 3, 6, 6, 6, 7)))],
    }


def _line(player_id: int, duration_s: int, rng: random.Random) -> dict[str, Any]:
    return {
        "player_id": str(player_id),
        "name": player_name(player_id),
        "kills": int(rng.gammavariate(2.0, 60.0)),
        "deaths": int(rng.expovariate(0.15)),
        "assists": int(rng.gammavariate(2.0, 12.0)),
        "time_played_s": int(duration_s * rng.uniform(0.3, 1.0)),
    }


def _crawl(n: int, rng: random.Random) -> dict[str, Any]:
    return {"player_id": str(_player_id(rng))}


def _fill(n: int, rng: random.Random) -> dict[str, Any]:
    return {
        "instance_id": str(FIRST_INSTANCE_ID + n),
        "characters": [_character(_player_id(rng), rng.randrange(3)) for _ in range(rng.randint(1, 3))],
    }


def _character(player_id: int, nth: int) -> dict[str, Any]:
    number = (player_id - FIRST_PLAYER_ID) * 3 + nth
    return {"character_id": str(FIRST_CHARACTER_ID + number), "player_id": str(player_id), "class": _CLASSES[nth]}


_MAKERS: Mapping[str, Callable[[int, random.Random], dict[str, Any]]] = {
    "character_fill": _fill,
    "instance_store": _report,
    "player_crawl": _crawl,
}
