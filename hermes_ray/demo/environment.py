"""What the demo runs in: a directory, a broker, an API, a local Ray, and signals that end them all."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from hermes_ray.broker.private.local import LocalBroker
from hermes_ray.cluster.connect import start_cluster, stop_cluster
from hermes_ray.config.loading import parse_command
from hermes_ray.config.settings import Config
from hermes_ray.deploy.apply import reach_broker
from hermes_ray.errors import OperationFailed

__all__ = ["OUT", "SAMPLE", "Environment", "step"]

SAMPLE = "hermes_ray.samples.raidhub"  # by name, as every handler: nothing imports a user's code
CONFIG = Path(__file__).parents[2] / "conf" / "raidhub.yaml"
OUT = Path("out") / "demo"
API_RATE_HZ = 150
NUM_CPUS = 2  # room for 8 workers of the sample, however many CPUs the machine has
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Environment:
    """A context manager: inside it everything runs, after it nothing does. A signal in it is a ``KeyboardInterrupt``.

    ``words`` are configuration keys. The broker is a private one unless ``HERMES_BROKER_URL`` or ``broker.url`` names
    another.
    """

    def __init__(self, words: Sequence[str], console: Console) -> None:
        self._words = words
        self._console = console
        self._stack = ExitStack()
        self.config: Config
        self.dashboard = ""

    def __enter__(self) -> Environment:
        _interrupt_on_signals()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for number in SIGNALS:  # a second Ctrl-C in these 1 to 2 s would leave the broker and Ray running
            signal.signal(number, signal.SIG_IGN)
        self._stack.close()
        _interrupt_on_signals()

    def _start(self) -> None:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir(parents=True)
        logging.basicConfig(filename=OUT / "demo.log", format="%(asctime)s %(levelname)s %(name)s %(message)s")
        os.environ["RAIDHUB_DATABASE"] = str(OUT.absolute() / "raidhub.sqlite")
        os.environ["RAIDHUB_API"] = self._start_api()
        words = [f"config={CONFIG}", f"state_dir={OUT.absolute() / 'state'}", *self._words]
        if "HERMES_BROKER_URL" not in os.environ and not any(word.startswith("broker.url") for word in words):
            broker = LocalBroker()
            words.append(f"broker.url={broker.url()}")
            self.config = parse_command(words).config
            with step(self._console, "a private RabbitMQ"):
                self._stack.enter_context(broker)
        else:
            self.config = parse_command(words).config
        reach_broker(self.config)
        with step(self._console, "a local Ray"):
            self._stack.callback(stop_cluster)
            try:
                self.dashboard = f"http://{start_cluster(self.config.deployment.name, NUM_CPUS)}"
            except SystemExit:  # raised by Ray's own SIGTERM handler, in place while it starts
                raise KeyboardInterrupt from None
            _interrupt_on_signals()

    def _start_api(self) -> str:
        command = [sys.executable, "-m", f"{SAMPLE}.api", "--port", "0", "--rate-hz", str(API_RATE_HZ)]
        api = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._stack.callback(_end, api)
        assert api.stdout is not None
        url = api.stdout.readline().strip()
        if not url:
            raise OperationFailed("the sample's API did not start: its output above says why")
        return url


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    """Say what is going on, and how long it took."""
    began_s = time.monotonic()
    with console.status(what):
        yield
    console.print(f"[green]✓[/] {what} [dim]{time.monotonic() - began_s:.1f} s[/]")


def _interrupt_on_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()  # by SIGKILL: the API has no data to save
    child.communicate()
