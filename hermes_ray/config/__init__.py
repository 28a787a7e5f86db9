"""The configuration: every knob, how it is read, checked, and shown without secrets."""
