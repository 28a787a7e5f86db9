"""Every metric, defined once: ``exporter.py`` serves them, ``metrics_page.py`` writes them down.

The five of Go Hermes keep their names, labels and buckets. All others are ``hermes_*``, labelled by topic and at most
one of a fixed set of reasons or states, so that their number depends on the topics alone.
"""

from __future__ import annotations

from hermes_ray.core.conditions import MEANINGS, Condition
from hermes_ray.core.histogram import COARSE_BUCKETS_S, DURATION_BUCKETS_S, coarse
from hermes_ray.core.model import Reason
from hermes_ray.telemetry.figures import Figures, TopicFigures
from hermes_ray.telemetry.metric import Buckets, Metric

__all__ = ["DEPLOYMENT_METRICS", "TOPIC_METRICS"]


def _worker_throughput_hz(topic: TopicFigures) -> float | None:
    finish_rate_hz, workers = topic.snapshot.finish_rate_hz, topic.snapshot.workers.observed
    return None if finish_rate_hz is None or workers == 0 else finish_rate_hz / workers


def _worker_count(topic: TopicFigures) -> int:
    workers = topic.snapshot.workers
    return workers.observed + workers.starting + workers.draining


_GO_HERMES: tuple[Metric[TopicFigures], ...] = (
    Metric(
        name="queue_worker_count",
        labels=("queue_name",),
        help="Workers there are, in whatever state.",
        read=_worker_count,
        answers=("queue_worker_count", "worker_count_gauge", "worker_count"),
    ),
    Metric(
        name="queue_depth",
        labels=("queue_name",),
        help="Messages ready in the queue.",
        read=lambda topic: topic.snapshot.ready_count,
        answers=("queue_depth", "queue_depth_gauge"),
    ),
    Metric(
        name="queue_messages_processed_total",
        kind="counter",
        labels=("queue_name", "status"),
        help="Deliveries settled: success is an ack, error a retry or a dead letter.",
        read=lambda topic: {
            "success": topic.counters.settlements.acked,
            "error": topic.counters.settlements.retried + topic.counters.settlements.dead_lettered,
        },
        answers=("queue_messages_processed_total", "messages_processed_total"),
    ),
    Metric(
        name="queue_message_processing_duration_seconds",
        kind="histogram",
        labels=("queue_name",),
        help="How long handler runs took, whatever came of them.",
        read=lambda topic: Buckets(DURATION_BUCKETS_S, topic.counters.runs.durations, topic.counters.runs.finished_s),
        answers=("queue_message_processing_duration_seconds", "message_processing_duration"),
    ),
    Metric(
        name="queue_scaling_decisions_total",
        kind="counter",
        labels=("queue_name", "direction"),
        help="Decisions that changed the target, by direction: up, down.",
        read=lambda topic: {"up": topic.counts.ups, "down": topic.counts.downs},
        answers=("queue_scaling_decisions_total", "scaling_decisions_total"),
    ),
)

_MESSAGES: tuple[Metric[TopicFigures], ...] = (
    Metric(
        name="hermes_held_messages",
        help="Messages delivered to workers and not settled yet.",
        read=lambda topic: topic.snapshot.held_count,
    ),
    Metric(
        name="hermes_running_messages",
        help="Held messages that are in a handler now.",
        read=lambda topic: topic.snapshot.running_count,
    ),
    Metric(
        name="hermes_retrying_messages",
        help="Messages in wait queues, until their next attempt is due.",
        read=lambda topic: topic.snapshot.retrying_count,
    ),
    Metric(
        name="hermes_oldest_age_seconds",
        help="How long the oldest ready message has been in the queue, at least.",
        read=lambda topic: topic.snapshot.oldest_age_s,
    ),
    Metric(
        name="hermes_longest_running_seconds",
        help="How long the oldest of the handlers that run now has been at it; 0 if none runs.",
        read=lambda topic: topic.snapshot.longest_running_s,
    ),
    Metric(
        name="hermes_wait_seconds",
        kind="histogram",
        help="From publish, or from when a retry was due, to the start of the handler; where that time is known.",
        read=lambda topic: Buckets(COARSE_BUCKETS_S, coarse(topic.counters.runs.wait), topic.counters.runs.wait_s),
    ),
    Metric(
        name="hermes_arrival_rate_hertz",
        help="New messages per second; retries do not count again.",
        read=lambda topic: topic.snapshot.arrival_rate_hz,
    ),
    Metric(
        name="hermes_service_rate_hertz",
        help="Messages per second that one busy slot handles.",
        read=lambda topic: topic.snapshot.service_rate_hz,
    ),
    Metric(
        name="hermes_growth_rate_hertz",
        help="Change per second, over 10 s, of all that is unsettled: ready, retrying and held; negative: it shrinks.",
        read=lambda topic: topic.snapshot.growth_rate_hz,
        answers=("queue_depth_rate",),
    ),
    Metric(
        name="hermes_deliveries_total",
        kind="counter",
        help="Messages that workers received, redelivered ones again.",
        read=lambda topic: topic.counters.settlements.received,
    ),
    Metric(
        name="hermes_requeues_total",
        kind="counter",
        help="Deliveries that went back to the queue unsettled: a worker drained, or lost its channel.",
        read=lambda topic: topic.counters.settlements.given_back,
    ),
    Metric(
        name="hermes_stale_settlements_total",
        kind="counter",
        help="Handler runs whose channel was gone at their end: they settled nothing, their messages come again.",
        read=lambda topic: topic.counters.settlements.stale,
    ),
    Metric(
        name="hermes_retries_total",
        kind="counter",
        help="Messages moved to a wait queue because their handler failed.",
        read=lambda topic: topic.counters.settlements.retried,
    ),
    Metric(
        name="hermes_dead_letters_total",
        kind="counter",
        labels=("topic", "reason"),
        help="Messages moved to the dead-letter queue: permanent, no retry would help; attempts, all are used up.",
        read=lambda topic: {
            "permanent": topic.counters.settlements.dead_lettered_permanent,
            "attempts": topic.counters.settlements.dead_lettered_attempts,
        },
    ),
)

_WORKERS: tuple[Metric[TopicFigures], ...] = (
    Metric(
        name="hermes_workers",
        labels=("topic", "state"),
        help="Workers by state: observed ones consume, starting ones do not yet (or not now), draining ones finish.",
        read=lambda topic: {
            "observed": topic.snapshot.workers.observed,
            "starting": topic.snapshot.workers.starting,
            "draining": topic.snapshot.workers.draining,
        },
    ),
    Metric(name="hermes_target_workers", help="Workers wanted.", read=lambda topic: topic.target),
    Metric(
        name="hermes_slots",
        help="Messages that the workers now consuming can handle at once.",
        read=lambda topic: topic.slot_count,
    ),
    Metric(
        name="hermes_utilisation_ratio",
        help="Share of slot time spent in handlers over the last 10 s.",
        read=lambda topic: topic.snapshot.utilisation_ratio,
        answers=("worker utilization",),
    ),
    Metric(
        name="hermes_busy_seconds_total",
        kind="counter",
        help="Slot time spent in handlers, running ones up to now included.",
        read=lambda topic: topic.counters.runs.busy_s,
    ),
    Metric(
        name="hermes_worker_throughput_hertz",
        help="Messages per second that one consuming worker finishes, over the last 10 s, averaged over workers.",
        read=_worker_throughput_hz,
        answers=("worker_throughput", "messages_processed_per_worker", "messages_processed_total"),
    ),
    Metric(
        name="hermes_report_lag_seconds",
        help="Age of the last report of the worker that has been silent for longest.",
        read=lambda topic: topic.report_lag_s,
    ),
    Metric(
        name="hermes_reconnects_total",
        kind="counter",
        help="Times workers lost the broker and came back.",
        read=lambda topic: topic.counters.reconnects,
    ),
    Metric(
        name="hermes_start_failures_total",
        kind="counter",
        help="Workers that failed to start.",
        read=lambda topic: topic.counts.start_failures,
    ),
    Metric(
        name="hermes_worker_deaths_total",
        kind="counter",
        help="Workers that ended without having been asked to.",
        read=lambda topic: topic.counts.deaths,
    ),
)

_SCALING: tuple[Metric[TopicFigures], ...] = (
    Metric(
        name="hermes_decisions_total",
        kind="counter",
        labels=("topic", "reason"),
        help="Decisions that changed the target, by the reason that bound it.",
        read=lambda topic: {str(reason): topic.counts.decisions.get(reason, 0) for reason in Reason},
        answers=("scaling_decisions_total",),
    ),
    Metric(
        name="hermes_scaling_effectiveness_ratio",
        help="What scale-ups gained of what was expected, on average: 1 all of it, 0 nothing, negative: harm.",
        read=lambda topic: topic.effectiveness_ratio,
        answers=("scaling_effectiveness",),
    ),
    Metric(
        name="hermes_overridden",
        labels=("topic", "reason"),
        help="1 for what a person told the topic and what rules it instead of the policy: pinned, paused or stopped.",
        read=lambda topic: {
            str(reason): float(topic.override is reason) for reason in (Reason.PINNED, Reason.PAUSED, Reason.STOPPED)
        },
    ),
    Metric(
        name="hermes_probe_failures_total",
        kind="counter",
        help="Depth probes that the broker did not answer.",
        read=lambda topic: topic.counts.probe_failures,
    ),
)


def _condition(condition: Condition) -> Metric[TopicFigures]:
    return Metric(
        name=f"hermes_{condition}",
        help=MEANINGS[condition],
        read=lambda topic: float(condition in topic.conditions),
    )


TOPIC_METRICS = (*_GO_HERMES, *_MESSAGES, *_WORKERS, *_SCALING, *map(_condition, Condition))

DEPLOYMENT_METRICS: tuple[Metric[Figures], ...] = (
    Metric(
        name="hermes_tick_duration_seconds",
        labels=(),
        help="How long the scaler's last round of looking, deciding and acting took.",
        read=lambda figures: figures.tick_s,
    ),
    Metric(
        name="hermes_figures_timestamp_seconds",
        labels=(),
        help="Unix time at which all these figures were taken.",
        read=lambda figures: figures.at_s - figures.clock_offset_s,
    ),
)
