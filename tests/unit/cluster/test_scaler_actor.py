from __future__ import annotations

from types import SimpleNamespace

from hermes_ray.cluster.scaler_actor import Scaler
from hermes_ray.scaler.clock import SteadyClock
from hermes_ray.scaler.orders import Permit
from tests.support.scaler_world import ScalerWorld


def test_a_pin_lasts_as_long_as_was_said_whatever_the_wall_clock_shows() -> None:
    wall = SimpleNamespace(s=1_800_000_000.0)
    clock, world = SteadyClock(wall=lambda: wall.s, uptime=lambda: 500.0, since_boot=lambda: 500.0), ScalerWorld()
    wall.s -= 3_600.0  # it is corrected
    scaler = object.__new__(Scaler)  # without its threads, and the Ray that its start asks
    vars(scaler).update(_clock=clock, _loop=world.loop, _ticks=SimpleNamespace(do=lambda _permit, action: action()))
    permit = Permit(incarnation="this", by_s=0.0)
    row = scaler.override(permit, "light", {"pinned_count": 3}, for_s=600.0)
    assert row == {"kind": "pinned", "count": 3, "until": wall.s + 600.0}
    world.loop.save(clock(), at_once=True)
    assert world.memory().topics["light"].override.pinned_until_s == clock() + 600.0
