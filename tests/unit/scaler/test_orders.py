"""An order is carried out, or its giver is told that it was not: never both."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from hermes_ray.errors import OperationFailed
from hermes_ray.scaler.orders import Orders
from tests.support.ledger import until
from tests.support.patience import PATIENCE


class Desk:
    """Orders with a clock of the test's own, and a thread that carries them out when it is let."""

    def __init__(self, timeout_s: float = 20.0) -> None:
        self.now_s = 1_000.0
        self.came = threading.Event()
        self.orders = Orders(lambda: self.now_s, self.came.set, timeout_s)
        self.done: list[str] = []

    def act(self, name: str) -> str:
        self.done.append(name)
        return name


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def ticking(desk: Desk) -> Iterator[None]:
    over = threading.Event()

    def tick() -> None:
        while not over.wait(0.005):
            desk.orders.carry_out()

    thread = threading.Thread(target=tick)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("ticking")
def test_an_order_is_carried_out_and_answered(desk: Desk) -> None:
    assert desk.orders.give(desk.orders.permit(10.0), lambda: desk.act("pause")) == "pause"
    assert desk.came.is_set()


@pytest.mark.usefixtures("ticking")
def test_what_it_raises_is_raised_where_it_was_given(desk: Desk) -> None:
    def fail() -> None:
        raise OperationFailed("the disk is full")

    with pytest.raises(OperationFailed, match="the disk is full"):
        desk.orders.give(desk.orders.permit(10.0), fail)


@pytest.mark.usefixtures("ticking")
def test_an_order_whose_time_is_over_is_refused(desk: Desk) -> None:
    permit = desk.orders.permit(10.0)
    desk.now_s += 10.1
    with pytest.raises(OperationFailed, match="too late and was not carried out"):
        desk.orders.give(permit, lambda: desk.act("stop"))
    assert desk.done == []


@pytest.mark.usefixtures("ticking")
def test_an_order_for_the_scaler_before_a_restart_is_refused_by_the_next(desk: Desk) -> None:
    permit = Desk().orders.permit(10.0)
    with pytest.raises(OperationFailed, match="too late"):
        desk.orders.give(permit, lambda: desk.act("stop"))
    assert desk.done == []


def test_an_order_that_nobody_took_in_time_is_not_carried_out_afterwards() -> None:
    desk = Desk(timeout_s=0.05)
    with pytest.raises(OperationFailed, match=r"busy .* not carried out"):
        desk.orders.give(desk.orders.permit(10.0), lambda: desk.act("pause"))
    desk.orders.carry_out()
    assert desk.done == []


def test_an_order_that_has_begun_is_waited_for() -> None:
    desk = Desk(timeout_s=0.05)
    begun, go_on, answers = threading.Event(), threading.Event(), []

    def slow() -> str:
        begun.set()
        assert go_on.wait(PATIENCE * 20)
        return desk.act("stop")

    permit = desk.orders.permit(10.0)
    giver = threading.Thread(target=lambda: answers.append(desk.orders.give(permit, slow)))

    def take() -> None:
        assert desk.came.wait(20)
        desk.orders.carry_out()

    taker = threading.Thread(target=take)
    taker.start()
    giver.start()
    assert begun.wait(PATIENCE * 20)
    giver.join(0.3)
    assert answers == []
    go_on.set()
    until(lambda: answers == ["stop"], "it is answered")
    giver.join()
    taker.join()
