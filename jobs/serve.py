"""Start a deployment and follow it: ``hermes serve`` as a Ray job, ``python jobs/serve.py``."""

from hermes_ray.cli.main import run

if __name__ == "__main__":
    run("serve")
