"""Makes what runs follow a configuration: plan, preflight, comparison, hand-over."""
