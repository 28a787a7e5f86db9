"""Drain a deployment and end it: ``hermes stop`` as a Ray job, ``python jobs/stop.py``."""

from hermes_ray.cli.main import run

if __name__ == "__main__":
    run("stop")
