from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hermes_ray.broker.ack_ledger import AckLedger
from hermes_ray.core.retry_rungs import retry_rung_ms, rungs_ms
from hermes_ray.worker.prefetch import prefetch_count

CHOICE = st.integers(0, 10_000)


class Broker:
    """What RabbitMQ does with tags of one channel: refuses what it does not hold, requeues what is nacked."""

    def __init__(self) -> None:
        self.unacked: set[int] = set()

    def ack(self, tag: int, multiple: bool) -> set[int]:
        """The deliveries this frame acks; a tag that is not outstanding would cost us the channel."""
        assert tag in self.unacked, f"precondition failed: unknown delivery tag {tag}"
        acked = {open_tag for open_tag in self.unacked if open_tag <= tag} if multiple else {tag}
        self.unacked -= acked
        return acked


class AcksOfOneChannel(RuleBasedStateMachine):
    """Deliveries come, are settled in any order or given back; each flush goes to the model of the broker."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.broker = AckLedger(), Broker()
        self.last = 0
        self.running: list[int] = []
        self.settled: set[int] = set()

    @rule(count=st.integers(1, 6), skipped=st.sampled_from([0, 0, 0, 1, 3]))
    def deliver(self, count: int, skipped: int) -> None:
        first = self.last + 1 + skipped  # skipped ones were nacked before anybody counted them
        self.last = first + count - 1
        self.ledger.add(first, self.last)
        self.broker.unacked.update(range(first, self.last + 1))
        self.running.extend(range(first, self.last + 1))

    @precondition(lambda self: self.running)
    @rule(choice=CHOICE)
    def settle(self, choice: int) -> None:
        tag = self.running.pop(choice % len(self.running))
        self.ledger.settle(tag)
        self.settled.add(tag)

    @precondition(lambda self: self.running)
    @rule(choice=CHOICE)
    def give_back(self, choice: int) -> None:
        tag = self.running.pop(choice % len(self.running))
        self.broker.unacked.remove(tag)
        self.ledger.give_back(tag)

    @rule()
    def flush(self) -> None:
        frames = self.ledger.flush()
        acked: set[int] = set()
        for tag, multiple in frames:
            acked |= self.broker.ack(tag, multiple)
        assert acked == self.settled, "a flush acks what was settled: all of it, and nothing else"
        self.settled.clear()
        first_running = min(self.running, default=self.last + 1)
        assert [multiple for _, multiple in frames] == [tag < first_running for tag, _ in frames]
        assert sum(multiple for _, multiple in frames) <= 1, "the contiguous prefix shares one frame"

    @invariant()
    def counts_agree_with_the_broker(self) -> None:
        assert self.ledger.open_count == len(self.broker.unacked)
        assert self.ledger.due_count == len(self.settled)


TestAcksOfOneChannel = AcksOfOneChannel.TestCase


@given(st.floats(0.01, 86_400), st.floats(0.01, 86_400), st.integers(2, 60), CHOICE, st.integers(0, 2))
def test_every_retry_finds_a_rung_within_a_factor_of_the_doubled_delay(
    base_s: float, max_s: float, attempts: int, choice: int, pick: int
) -> None:
    failures = 1 + choice % (attempts - 1)
    rungs = rungs_ms(base_s, max_s, attempts)
    assert list(rungs) == sorted(set(rungs))
    assert rungs[0] == max(1, round(1000 * base_s))
    assert rungs[-1] <= 1000 * max(base_s, max_s) + 1

    def choose(some: Sequence[int]) -> int:
        assert 1 <= len(some) <= 3
        return some[pick % len(some)]

    delay_ms = retry_rung_ms(rungs, failures, choose)
    assert delay_ms in rungs
    assert delay_ms <= 1000 * base_s * 2 ** (failures - 0.5) + 1
    reached_ms = min(1000 * base_s * 2 ** (failures - 1.5), rungs[-2] if len(rungs) > 1 else rungs[-1])
    assert delay_ms >= reached_ms - 1


@given(st.none() | st.floats(0, 1e6), st.integers(1, 10_000))
def test_prefetch_is_at_least_one_per_slot_and_never_more_than_five_hundred_beyond_need(
    service_s: float | None, concurrency: int
) -> None:
    assert concurrency <= prefetch_count(service_s, concurrency) <= max(500, concurrency)
