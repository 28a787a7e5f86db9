"""Files of many topics load however they are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_ray.config.loading import load, masked_yaml
from tests.support.large_files import WRITINGS, large_file

COUNT = 520


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_file_of_many_topics_loads(writing: str, tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(large_file(writing, COUNT))
    config = load(file, ["topics.t5.workers.max=40"])
    assert len(config.topics) == COUNT
    assert (config.topics["t5"].workers.max, config.topics["t5"].queue) == (40, "t5")


def test_what_is_shown_of_it_loads_again(tmp_path: Path) -> None:
    file = tmp_path / "hermes.yaml"
    file.write_text(large_file("references", COUNT))
    config = load(file)
    file.write_text(masked_yaml(file).replace("guest:***", "guest:guest"))
    assert load(file) == config
