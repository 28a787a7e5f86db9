"""Replays traces against the policy: imports core alone."""
