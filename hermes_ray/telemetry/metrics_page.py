"""Writes ``docs/metrics.md`` from the definitions; ``make docs`` runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hermes_ray.core.conditions import MEANINGS, Condition
from hermes_ray.core.model import REASON_MEANINGS, Reason
from hermes_ray.telemetry.metric import Metric
from hermes_ray.telemetry.metrics import DEPLOYMENT_METRICS, TOPIC_METRICS

__all__ = ["page"]

_TOP = """\
# Metrics

<!-- Written by `make docs` from hermes_ray/telemetry/: metrics.py has the metrics, metrics_page.py the text around. -->

The scaler serves all metrics of a deployment, workers included, at one place: `metrics.host` (127.0.0.1) and
`metrics.port` (9464; 0 for none); `metrics_url` in `hermes status --json` is the address. If the port is taken there
are no metrics, the scaler works on, and `hermes status` says so: of two deployments on one head, one needs another
port. `/healthz` beside the metrics answers 200, or 503 and why.

```yaml
scrape_configs:
  - job_name: hermes
    scrape_interval: 10s
    static_configs:
      - targets: ["127.0.0.1:9464"]
```

A scrape waits while the scaler decides, and shows one moment, `hermes_figures_timestamp_seconds`. What is unknown has
no sample. Counters and histograms go on where they were when workers come and go and when the scaler is killed or
replaced; on another cluster they start at 0.

## All metrics
"""

_ASKED_FOR = """
## Asked for, and found here

Names from an audit of Go Hermes' scaling, and Go Hermes' own five, which keep their names, labels and buckets. Nothing
is labelled by worker: the number of series depends on the topics alone.
"""

_REASONS = """
## Reasons of decisions

What bound a target: the label `reason` of `hermes_decisions_total`, and the key of that name in `hermes status --json`,
`why --json` and `decisions --json`. Where several steps changed the number it is the last one's; `hermes why` says it
in words with its figures.
"""

_ALERTS = """
## Alerts

A condition is what the scaler itself knows to be wrong: 1 while it holds, also shown by `hermes status`. Whether it is
worth waking a person depends on how long it lasts.

```yaml
groups:
  - name: hermes
    rules:
      - alert: HermesSilent
        expr: up{job="hermes"} == 0 or time() - hermes_figures_timestamp_seconds > 30
        for: 1m
        annotations:
          summary: "The scaler does not answer or does nothing; workers go on, but their number stays."
"""

_USUAL_PATIENCE = "1m"
_PATIENCE: Mapping[Condition, str] = {
    Condition.START_FAILING: "2m",
    Condition.SATURATED: "10m",
    Condition.CAPACITY_EXHAUSTED: "10m",
    Condition.OBJECTIVE_AT_RISK: "5m",
}


def page() -> str:
    """The whole page."""
    metrics: tuple[Metric[Any], ...] = (*TOPIC_METRICS, *DEPLOYMENT_METRICS)
    rows = [(f"`{m.name}`", m.kind, ", ".join(m.labels), m.help) for m in metrics]
    table = _table(("name", "type", "labels", "meaning"), rows)
    asked_for = _table(("asked for", "here"), [(f"`{name}`", here) for name, here in _asked_for(metrics).items()])
    reasons = _table(("reason", "meaning"), [(f"`{reason}`", REASON_MEANINGS[reason]) for reason in Reason])
    alerts = _ALERTS + "".join(map(_rule, Condition)) + "```\n"
    return "\n".join([_TOP, table, _ASKED_FOR, asked_for, _REASONS, reasons, alerts])


def _asked_for(metrics: Iterable[Metric[Any]]) -> Mapping[str, str]:
    """Each name somebody asked for, and the metrics that answer it."""
    found: dict[str, str] = {}
    for metric in metrics:
        for name in metric.answers:
            found[name] = f"{found[name]}, `{metric.name}`" if name in found else f"`{metric.name}`"
    return found


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _rule(condition: Condition) -> str:
    name = condition.replace("_", " ").title().replace(" ", "")
    return f"""\
      - alert: Hermes{name}
        expr: hermes_{condition} == 1
        for: {_PATIENCE.get(condition, _USUAL_PATIENCE)}
        annotations:
          summary: "{{{{ $labels.topic }}}}: {MEANINGS[condition]}"
"""


if __name__ == "__main__":
    sys.stdout.write(page())
