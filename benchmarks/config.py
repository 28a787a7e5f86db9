"""What it costs to load a configuration of many topics: CPU seconds by how it is written.

``load`` reads, resolves and checks the file; ``config`` is that and what ``hermes config`` prints.
``python -m benchmarks.config``
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hermes_ray.config.loading import load, masked_yaml
from tests.support.large_files import WRITINGS, large_file

TOPICS = 2000
ROUNDS = 3


def measure(call: Callable[[], object]) -> float:
    """The CPU seconds of the fastest of three calls."""
    took_s = []
    for _ in range(ROUNDS):
        began_s = time.process_time()
        call()
        took_s.append(time.process_time() - began_s)
    return round(min(took_s), 2)


def main() -> None:
    """Print a line of JSON for each way of writing 2,000 topics."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "hermes.yaml"
        for writing in WRITINGS:
            file.write_text(large_file(writing, TOPICS), encoding="utf-8")
            costs = {"load_s": measure(lambda: load(file)), "config_s": measure(lambda: masked_yaml(file))}
            print(json.dumps({"topics": TOPICS, "writing": writing, "bytes": file.stat().st_size, **costs}))


if __name__ == "__main__":
    main()
