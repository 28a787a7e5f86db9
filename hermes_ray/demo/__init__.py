"""``make demo``: three topics under 90 seconds of load."""
