"""Publish a load to a topic: ``hermes publish`` as a Ray job, ``python jobs/publish.py``."""

from hermes_ray.cli.main import run

if __name__ == "__main__":
    run("publish")
