"""What the commands that look at a deployment, or overrule it, say; the deployment is a fake."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hermes_ray.cli import reach as reach_module
from hermes_ray.cli.main import cli
from hermes_ray.config.sentences import nearest
from hermes_ray.errors import UserMistake
from hermes_ray.scaler.decision_memory import MOST_KEPT as KEPT_DECISIONS

TOPIC: dict[str, Any] = {
    "depth": 412, "held": 93, "retrying": 0, "oldest_age_s": 9.04, "arrival_rate_hz": 31.02, "service_rate_hz": 2.6,
    "wait_p95_s": None, "outdated": 0, "override": None, "conditions": [], "start_error": None, "depth_error": None,
    "workers": {"observed": 8, "starting": 2, "draining": 0, "target": 13}, "last_decision": None,
}  # fmt: skip


def decision(topic: str, age_s: float, text: str) -> dict[str, Any]:
    return {
        "topic": topic,
        "at": time.time() - age_s,
        "from": 1,
        "to": 2,
        "reason": "demand",
        "limiters": [],
        "text": text,
    }


def worker(name: str, **changed: Any) -> dict[str, Any]:
    return {
        "worker": name, "topic": name.partition("/")[0], "phase": "consuming", "node": "ab" * 28, "pid": 77,
        "slots": 4, "running": 3, "held": 5, "age_s": 300.0, "report_age_s": 0.4, "outdated": False, "acked": 1000,
        "retried": 2, "dead_lettered": 1, "reconnects": 0, "longest_running_s": 12.0, **changed,
    }  # fmt: skip


class FakeDeployment:
    """Answers as ``Deployment`` does, and remembers the orders it got."""

    name = "hermes"

    def __init__(self) -> None:
        self.topics = {"orders": dict(TOPIC), "idle": dict(TOPIC)}
        self.head: dict[str, Any] = {}
        self.orders: list[tuple[Any, ...]] = []
        self.asked: list[tuple[float, str | None]] = []
        self.made = [decision("idle", 400, "1 -> 0 workers: d"), decision("orders", 12, "8 -> 13 workers: b")]

    def status(self) -> dict[str, Any]:
        head = {"stopping": False, "driver": "alive", "owner": "serve on host", "generation": 7, "metrics_url": None}
        return {**head, "applied_at": time.time() - 300, "warnings": [], **self.head, "topics": self.topics}

    def workers(self) -> list[dict[str, Any]]:
        return [worker("orders/3f2a91bc"), worker("idle/00000001", outdated=True, node=None, report_age_s=None)]

    def why(self, topic: str) -> dict[str, Any]:
        told = [decision(topic, 200, "3 -> 8 workers: a"), decision(topic, 12, "8 -> 13 workers: b")]
        head = {"topic": topic, "stopping": self.head.get("stopping", False)}
        return {**self.topics[topic], **head, "now": decision(topic, 1, "13 workers: c"), "decisions": told}

    def decisions(self, since_s: float, topic: str | None = None) -> list[dict[str, Any]]:
        self.asked.append((time.time() - since_s, topic))
        return [row for row in self.made if row["at"] >= since_s]

    def known(self, topic: str) -> str:
        if topic not in self.topics:
            raise UserMistake(f"deployment {self.name} has no topic {topic}: {nearest(topic, self.topics)}")
        return topic

    def override(
        self, topic: str, action: str, count: int | None = None, for_s: float | None = None
    ) -> dict[str, Any] | None:
        self.orders.append((self.known(topic), action, count, for_s))
        if action == "resume":
            return None
        kind = {"pause": "paused", "pin": "pinned", "stop": "stopped"}[action]
        return {"kind": kind, "count": count, "until": None if for_s is None else time.time() + for_s}

    def forget(self, topic: str) -> None:
        if topic in self.topics:
            raise UserMistake(f"{topic} is configured: take it out of the configuration first")
        self.orders.append((topic, "forget"))


@pytest.fixture
def deployment(monkeypatch: pytest.MonkeyPatch) -> FakeDeployment:
    fake = FakeDeployment()

    class Found:
        @staticmethod
        def find(name: str) -> FakeDeployment:
            if name != "hermes":
                raise UserMistake(f"no deployment named {name}")
            return fake

    monkeypatch.setattr(reach_module, "join_cluster", lambda name: None)
    monkeypatch.setattr(reach_module, "Deployment", Found)
    return fake


@pytest.fixture
def hermes(deployment: FakeDeployment) -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(cli, words)


def test_status_shows_what_overrules_what_is_wrong_and_the_last_decision(
    deployment: FakeDeployment, hermes: Callable[..., Result]
) -> None:
    deployment.head = {
        "driver": "none",
        "metrics_url": "http://127.0.0.1:9464/metrics",
        "warnings": ["port 9464 is taken"],
        "others": ["other"],
    }
    pin = {"kind": "pinned", "count": 13, "until": time.time() + 1500}
    deployment.topics["orders"] |= {
        "override": pin, "conditions": ["saturated", "from_a_newer_scaler"], "outdated": 3,
        "last_decision": decision("orders", 12, "8 -> 13 workers: b"), "depth_error": "404 no queue",
    }  # fmt: skip
    deployment.topics["idle"]["override"] = {"kind": "paused", "count": None, "until": None}
    lines = hermes("status").output.splitlines()
    assert lines[0] == ("deployment hermes, applied 5 min ago, no driver, metrics http://127.0.0.1:9464/metrics")
    (row,) = [line.split() for line in lines if "13 pinned" in line]
    assert row == ["orders", "412", "93", "0", "9.04", "31", "2.6", "-", "8", "+2,", "3", "old", "13", "pinned"]
    for line in (
        "port 9464 is taken",
        "orders, 12 s ago: 8 -> 13 workers: b",
        "orders is pinned to 13 workers for 25 min more",
        "idle is paused until hermes resume idle",
        "orders saturated: Every slot is busy, messages flow, and more of them wait.",
        "orders from_a_newer_scaler",
        "orders: its depth cannot be read: 404 no queue",
        "also on this cluster: other, with workers that take room too: hermes status deployment.name=other",
    ):
        assert line in lines


def test_status_json_is_what_the_scaler_says(deployment: FakeDeployment, hermes: Callable[..., Result]) -> None:
    assert json.loads(hermes("status", "--json").output)["topics"] == deployment.topics


def test_why_says_what_holds_now_then_the_last_decisions_newest_first(
    deployment: FakeDeployment, hermes: Callable[..., Result]
) -> None:
    deployment.topics["orders"]["conditions"] = ["capacity_exhausted"]
    deployment.topics["orders"]["override"] = {"kind": "stopped", "count": None, "until": None}
    assert hermes("why", "orders").output.splitlines() == [
        "now: 13 workers: c",
        "orders is stopped until the next hermes apply or serve",
        "orders capacity_exhausted: The cluster has no room for the workers this topic wants.",
        "12 s ago: 8 -> 13 workers: b",
        "3 min ago: 3 -> 8 workers: a",
    ]
    assert json.loads(hermes("why", "--json", "orders").output)["topic"] == "orders"


def test_why_says_that_the_deployment_is_stopping(deployment: FakeDeployment, hermes: Callable[..., Result]) -> None:
    deployment.head["stopping"] = True
    first, second, *_ = hermes("why", "orders").output.splitlines()
    assert first == "the deployment is stopping, all workers drain"
    assert second == "now: 13 workers: c"


def test_decisions_are_asked_for_the_time_and_topic_that_were_named(
    deployment: FakeDeployment, hermes: Callable[..., Result]
) -> None:
    assert hermes("decisions", "--since", "2h").output.splitlines() == [
        "  7 min ago  idle: 1 -> 0 workers: d",
        "   12 s ago  orders: 8 -> 13 workers: b",
    ]
    assert len(json.loads(hermes("decisions", "orders", "--json", "deployment.name=hermes").output)) == 2
    assert hermes("decisions", "--since", "5").output == "no decision changed a target within 5 s\n"
    (first_s, all_topics), (second_s, topic), _ = deployment.asked
    assert (round(first_s), all_topics) == (7200, None)
    assert (round(second_s), topic) == (600, "orders")


def test_decisions_say_where_those_that_are_kept_do_not_reach_as_far_back_as_was_asked(
    deployment: FakeDeployment, hermes: Callable[..., Result]
) -> None:
    deployment.made += [decision("orders", 11, "13 -> 12 workers: e")] * (KEPT_DECISIONS - 1)
    *_, last, note = hermes("decisions", "--since", "2h").output.splitlines()
    assert last.endswith("orders: 13 -> 12 workers: e")
    assert note == f"only the last {KEPT_DECISIONS} decisions of orders are kept"
    assert len(json.loads(hermes("decisions", "--since", "2h", "--json").output)) == KEPT_DECISIONS + 1
    deployment.made[1] = decision("orders", 8000, "8 -> 13 workers: b")
    assert "are kept" not in hermes("decisions", "--since", "2h").output, "the oldest is from before what was asked"


def test_workers_are_a_row_each_and_those_to_be_replaced_say_so(hermes: Callable[..., Result]) -> None:
    rows = [line.split() for line in hermes("workers").output.splitlines() if "/" in line]
    counts, durations = "77 4 3 5 1000 2 1 0", "12 s 5 min 0 s"
    assert " ".join(rows[0]) == f"orders/3f2a91bc consuming abababababab {counts} {durations}"
    assert rows[1][:4] == ["idle/00000001", "consuming,", "outdated", "-"]
    (only,) = json.loads(hermes("workers", "orders", "--json").output)
    assert only["worker"] == "orders/3f2a91bc"


def test_workers_say_why_they_are_in_a_state_that_asks_for_it(
    deployment: FakeDeployment, hermes: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = worker("orders/3f2a91bc", phase="unresponsive", why="no report for 70 s; replaced, ended after 900 s")
    monkeypatch.setattr(deployment, "workers", lambda: [silent, worker("idle/00000001", why=None)])
    lines = hermes("workers").output.splitlines()
    assert lines[-1] == "orders/3f2a91bc: no report for 70 s; replaced, ended after 900 s"
    assert not any(line.startswith("idle/00000001:") for line in lines)
    assert [row["why"] for row in json.loads(hermes("workers", "--json").output)] == [silent["why"], None]


@pytest.mark.parametrize(
    ("words", "order", "answer"),
    [
        ("pause orders", ("pause", None, None), "is paused until hermes resume orders"),
        ("resume orders deployment.name=hermes", ("resume", None, None), "follows its policy"),
        ("stop orders", ("stop", None, None), "is stopped until the next hermes apply or serve"),
        ("stop deployment.name=hermes orders", ("stop", None, None), "is stopped until the next hermes apply or serve"),
        ("scale orders 7", ("pin", 7, None), "is pinned to 7 workers until hermes resume orders"),
        ("scale orders 0 --for 30m", ("pin", 0, 1800.0), "is pinned to 0 workers for 30 min more"),
        ("scale --for 2h orders 1", ("pin", 1, 7200.0), "is pinned to 1 worker for 120 min more"),
        ("scale --for 90 orders 100000", ("pin", 100_000, 90.0), "is pinned to 100000 workers for 90 s more"),
    ],
)
def test_orders_reach_the_deployment_and_what_rules_then_is_printed(
    deployment: FakeDeployment, hermes: Callable[..., Result], words: str, order: tuple[Any, ...], answer: str
) -> None:
    done = hermes(*words.split())
    assert (done.exit_code, done.output) == (0, f"orders {answer}\n")
    assert deployment.orders == [("orders", *order)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("forget", "the topic is missing: write hermes forget TOPIC; hermes status shows the topics"),
        ("forget a b", "hermes forget takes one topic, not 2 (a, b): ask once for each"),
        ("why", "the topic is missing: write hermes why TOPIC; hermes status shows the topics"),
        ("pause config=my.yaml", "the topic is missing: write hermes pause TOPIC"),
        ("pause orders config=gone.yaml", "config='gone.yaml' cannot be read"),
        ("pause a b", "hermes pause takes one topic, not 2 (a, b): ask once for each"),
        ("workers order", "deployment hermes has no topic order: did you mean orders?"),
        ("workers zzz", "deployment hermes has no topic zzz: it has idle, orders"),
        ("pause order", "deployment hermes has no topic order: did you mean orders?"),
        ("scale orders", "write hermes scale TOPIC N: the topic, and the number of workers it is to have"),
        ("scale orders many", "N is 'many': it must be a whole number of workers from 0 to 100000"),
        ("scale orders 100001", "N is '100001': it must be"),
        (f"scale orders {5_000 * '9'}", f"N is '{40 * '9'}': it must be"),
        ("scale orders 5 --for soon", "--for is 'soon': write a duration above 0 such as 90s, 10m, 2h or 1d"),
        ("scale orders 5 --for 0s", "--for is '0s': write a duration above 0"),
        ("decisions --since 1w", "--since is '1w': write a duration above 0 such as 90s, 10m, 2h or 1d"),
        ("why orders topic=orders", "there is no key 'topic'"),
        ("status deployment.name=other", "no deployment named other"),
        ("apply detach=false", "detach is 'false': hermes apply always detaches; hermes serve follows instead"),
    ],
)
def test_mistakes_are_answered_in_one_sentence(hermes: Callable[..., Result], words: str, sentence: str) -> None:
    done = hermes(*words.split())
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_stop_without_a_topic_and_apply_are_done_by_the_commands_that_serve(
    monkeypatch: pytest.MonkeyPatch, hermes: Callable[..., Result]
) -> None:
    called: list[tuple[str, list[str]]] = []

    def note(name: str) -> Callable[[Any], int]:
        def take(words: Any) -> int:
            called.append((name, list(words)))
            return 0

        return take

    monkeypatch.setattr("hermes_ray.cli.serve.stop", note("stop"))
    monkeypatch.setattr("hermes_ray.cli.serve.serve", note("serve"))
    assert hermes("stop", "deployment.name=x").exit_code == 0
    assert hermes("stop").exit_code == 0
    assert hermes("apply", "config=a.yaml", "roll=true").exit_code == 0
    assert called == [
        ("stop", ["deployment.name=x"]), ("stop", []), ("serve", ["config=a.yaml", "roll=true", "detach=true"])
    ]  # fmt: skip


def test_a_left_out_topic_is_forgotten_with_one_sentence_and_another_is_refused_with_one(
    deployment: FakeDeployment, hermes: Callable[..., Result]
) -> None:
    done = hermes("forget", "old", "deployment.name=hermes")
    assert (done.exit_code, deployment.orders) == (0, [("old", "forget")])
    assert done.output == "old is forgotten: its counters, its pause and pin and what was learnt of it are gone\n"
    done = hermes("forget", "orders")
    assert (done.exit_code, done.stderr) == (
        2,
        "hermes: orders is configured: take it out of the configuration first\n",
    )
