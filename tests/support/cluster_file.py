"""The Ray cluster launcher's file as shipped, and edited as its last comment says."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.support.live import ROOT

TEXT = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
REPLACED = ("provider", "auth", "docker", "head_node_type", "available_node_types")


def shipped() -> dict[str, Any]:
    """The file as it is, for AWS."""
    config: dict[str, Any] = yaml.safe_load(TEXT)
    return config


def local_variant() -> dict[str, Any]:
    """The file for machines of one's own."""
    comment = TEXT[TEXT.index("# provider:") :]
    own = yaml.safe_load(re.sub(r"^# ?", "", comment, flags=re.MULTILINE))
    return {key: value for key, value in shipped().items() if key not in REPLACED} | own
