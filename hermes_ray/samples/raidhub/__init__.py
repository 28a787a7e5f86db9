"""Three topics of a game-statistics site doing real work: the sample behind ``conf/raidhub.yaml`` and ``make demo``.

``InstanceStore`` is fast (database writes), ``PlayerCrawl`` slow (calls a rate-limited API), ``CharacterFill`` mixed:
it publishes on to ``player_crawl``. Delivery is at least once; the ledger, written in the same transaction as the
rows, makes the database see every message exactly once.
"""

from hermes_ray.samples.raidhub.character_fill import CharacterFill
from hermes_ray.samples.raidhub.instance_store import InstanceStore
from hermes_ray.samples.raidhub.ledger import Ledger, read_ledger
from hermes_ray.samples.raidhub.loads import body
from hermes_ray.samples.raidhub.player_crawl import PlayerCrawl

__all__ = ["CharacterFill", "InstanceStore", "Ledger", "PlayerCrawl", "body", "read_ledger"]
