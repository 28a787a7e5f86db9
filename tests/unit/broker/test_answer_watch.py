"""At which queue a channel stands that answers nothing, and who is sent on the next."""

from __future__ import annotations

from hermes_ray.broker.answer_watch import TRY_AGAIN_S, AnswerWatch
from hermes_ray.broker.outgoing import fresh
from hermes_ray.broker.publish_entry import Entry
from hermes_ray.broker.silent_queues import SilentQueues


def entry(queue: str, sent_s: float = 0.0, *, is_trial: bool = False, is_wanted: bool = True) -> Entry:
    made = Entry(fresh(queue, b""), lambda _answer, _words: None, lambda: is_wanted, is_trial=is_trial)
    made.sent_s = sent_s
    return made


class Scene:
    """A publisher's channel that was opened at 1 s, what was sent on it, and looks every 5 s."""

    def __init__(self) -> None:
        self.silent = SilentQueues[Entry]()
        self.watch = AnswerWatch(self.silent)
        self.sent: list[Entry] = []
        self.now_s = 1.0
        self.watch.begin(self.now_s)
        self.looks_again()

    def looks_again(self) -> bool:
        self.now_s += 5.0
        return self.watch.is_in_the_way(self.sent, self.now_s)

    def send(self, *queues: str, is_trial: bool = False) -> None:
        """Those that are not kept back are on the wire."""
        for queue in queues:
            made = entry(queue, self.now_s, is_trial=is_trial)
            if not self.silent.keep_back(queue, made):
                self.silent.sent(queue)
                self.sent.append(made)

    def renew(self) -> list[str]:
        """On the next channel all is sent again that is not kept back; returns to what queues trials go."""
        self.watch.renew(self.sent, self.now_s)
        again, self.sent = self.sent, []
        for made in again + self.watch.begin(self.now_s):
            made.sent_s = self.now_s
            if not self.silent.keep_back(made.message.queue, made):
                self.silent.sent(made.message.queue)
                self.sent.append(made)
        self.looks_again()
        return [made.message.queue for made in self.sent if made.is_trial]


def test_a_queue_that_alone_owes_answers_is_said_and_in_nobodys_way_yet() -> None:
    scene = Scene()
    scene.send("dead", "dead")
    assert not scene.looks_again(), "it was sent a moment ago"
    assert scene.silent.reason is None
    assert not scene.looks_again()
    assert scene.silent.reason == "no answer to what was published to dead"
    scene.send("dead")
    assert len(scene.sent) == 2, "the next is kept back"


def test_others_that_wait_behind_it_go_on_without_it() -> None:
    scene = Scene()
    scene.send("dead")
    assert not any(scene.looks_again() for _ in range(3))
    scene.send("other")
    assert not scene.looks_again()
    assert scene.looks_again()
    assert scene.renew() == ["other"]


def test_who_was_sent_just_before_is_not_blamed_and_each_queue_is_tried_alone() -> None:
    scene = Scene()
    scene.send("other", "dead", "other", "third")
    scene.looks_again()
    assert scene.looks_again()
    assert scene.renew() == ["other", "dead", "third"]
    scene.sent = [made for made in scene.sent if made.message.queue != "other"]
    scene.silent.heard("other")
    scene.looks_again()
    assert scene.looks_again(), "the first has been sent alone: it is where the channel stands"
    assert scene.renew() == ["third"]
    assert not scene.looks_again()


def test_a_channel_that_answers_anything_is_left_alone() -> None:
    scene = Scene()
    scene.send("dead", "other")
    for _ in range(5):
        scene.watch.is_answering = True
        assert not scene.looks_again()
    assert scene.silent.reason is None


def test_a_broker_that_stands_still_as_a_whole_ends_as_many_channels_as_there_are_queues_at_most() -> None:
    scene = Scene()
    scene.send(*"abc" * 10)
    renewed_count = 0
    for _ in range(30):
        if scene.looks_again():
            renewed_count += 1
            scene.renew()
    assert renewed_count <= 3
    assert len(scene.sent) <= 10


def test_where_a_channel_stood_one_is_tried_now_and_then_until_nobody_asks() -> None:
    scene = Scene()
    scene.send("dead")
    for _ in range(3):
        scene.looks_again()
    scene.send("other")
    scene.looks_again()
    scene.looks_again()
    scene.renew()
    scene.silent.heard("other")
    scene.sent.clear()
    assert scene.watch.tries([], scene.now_s) == []
    scene.now_s += TRY_AGAIN_S
    [tried] = scene.watch.tries([], scene.now_s)
    assert (tried.message.queue, tried.is_trial) == ("dead", True)
    scene.now_s += TRY_AGAIN_S
    assert scene.watch.tries([tried], scene.now_s) == [], "it is on its way still"
    assert scene.silent.reason is not None
    scene.now_s += TRY_AGAIN_S
    assert scene.watch.tries([], scene.now_s) == []
    assert scene.silent.reason is None, "nobody waits for it any more"


def test_what_is_not_wanted_any_more_is_not_tried() -> None:
    silent = SilentQueues[Entry]()
    watch = AnswerWatch(silent)
    silent.stands_at("dead")
    assert silent.keep_back("dead", entry("dead", is_wanted=False))
    assert silent.keep_back("dead", wanted := entry("dead"))
    assert watch.tries([], TRY_AGAIN_S) == [wanted]
