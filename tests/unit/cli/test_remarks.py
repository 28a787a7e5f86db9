"""What is said of a deployment as a whole: its neighbours, and a roll-out that stands still."""

from __future__ import annotations

from hermes_ray.cli.remarks import neighbours, notices, remarks
from tests.support.statuses import state, status_of

NOW_S = 1_000.0
STUCK = state(start_error="handler m:f cannot be built", outdated=4)


def test_deployments_that_share_a_cluster_are_named() -> None:
    assert neighbours(status_of({})) == ""
    assert neighbours(status_of({}, others=[])) == ""
    assert neighbours(status_of({}, others=["blue", "green"])) == (
        "also on this cluster: blue, green, with workers that take room too: hermes status deployment.name=blue"
    )
    many = neighbours(status_of({}, others=[f"team-{number}" for number in range(60)]))
    assert "team-4 and 55 more, with" in many


def test_a_queue_that_serves_one_consumer_is_said() -> None:
    (said,) = remarks("orders", state(single_active=True), NOW_S)
    assert said.of("orders") == (
        "orders is held at one worker and a standby, since its queue has a single active consumer"
    )
    assert not list(remarks("orders", state(single_active=False), NOW_S))
    assert not list(remarks("orders", state(), NOW_S))


def test_a_roll_out_that_stands_still_is_said_with_the_way_out_of_it() -> None:
    topics = {"orders": STUCK, "mails": state(outdated=0)}
    former = {"applied_at": 400.0, "code": "0123456789ab"}
    warning, said = notices(status_of(topics, warnings=["no metrics"], former=former), NOW_S)
    assert warning == "no metrics"
    assert said == (
        "the roll-out stands still, new workers of orders do not start; 4 former workers work on: "
        "hermes rollback goes back to what was applied 10 min ago"
    )
    (said,) = notices(status_of({"orders": {**STUCK, "outdated": 1}}, former=None), NOW_S)
    assert said.endswith("1 former worker works on: apply code that starts")


def test_a_first_start_that_fails_and_a_roll_out_that_goes_on_are_no_standstill() -> None:
    topics = {"orders": state(start_error="no room", outdated=0), "mails": state(outdated=3)}
    assert list(notices(status_of(topics), NOW_S)) == []
