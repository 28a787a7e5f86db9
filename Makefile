# `make` lists what there is to do. Everything installs what it needs first, once.
.DEFAULT_GOAL := help
.PHONY: help install broker demo test test-all test-ray-up check fix format lint imports types unit docs clean distclean constraints bench-peers

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PARALLEL := --no-print-directory --keep-going --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
PYTEST := $(BIN)/python -m pytest --quiet
# Two files at once, each with a broker and a Ray of its own: of one alone half of the time is waiting, of three
# the processors are never idle and what waits for them, Ray and RabbitMQ as well, gives up.
FILES_AT_ONCE := --numprocesses=2 --dist=loadfile --no-loadscope-reorder
ALL := -m "slow or not slow" --hypothesis-profile=exploring
# Beside others the demo's 135 s for its load may not be enough, nor Ray's 30 s to start. The long day takes a core.
DEMO := tests/integration/demo
LONG_DAY := tests/integration/worker/test_memory.py
# `ray stop` and `ray down` signal every Ray they see: they see their own processes and their own network only.
AS_ROOT = $(if $(filter-out 0,$(shell id -u)),sudo -n env "PATH=$$PATH" PYTHONDONTWRITEBYTECODE=1)
APART = $(AS_ROOT) unshare --pid --fork --kill-child --mount-proc --net

# Debian keeps rabbitmq-server and update-rc.d where only root looks, Homebrew under its own root.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/sbin
export RAY_USAGE_STATS_ENABLED := 0
# Compiled once, not by each of the hundreds of processes that the tests start: a third of the time of a command.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

install: broker $(INSTALLED) ## .venv, the Python packages and rabbitmq-server, where missing

broker:
	@command -v rabbitmq-server >/dev/null || .ci/apt-install rabbitmq-server

$(BIN)/pip:
	@set -e; for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	    version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    case $$version in 3.11|3.12|3.13) ;; *) continue ;; esac; \
	    $$python -c 'import ensurepip, venv' 2>/dev/null || .ci/apt-install python$$version-venv; \
	    echo "making $(VENV) with Python $$version"; exec $$python -m venv $(VENV); \
	done; \
	echo "hermes_ray needs Python 3.11, 3.12 or 3.13: install one, or name it: make install PYTHON=/path/to/python3.11" >&2; exit 1

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,plot,postgres]'
	@touch $@

demo: install ## three topics under a 90-second load, watched live; a picture and a summary in out/demo
	$(BIN)/python -m hermes_ray.demo

test: check ## check, then the tests against a real broker and a real Ray
	$(PYTEST) $(FILES_AT_ONCE) --ignore=tests/unit --ignore=tests/property

test-all: install ## everything in test, and the tests that take minutes
	@$(MAKE) $(PARALLEL) format lint imports types
	$(PYTEST) $(FILES_AT_ONCE) $(ALL) tests/integration --ignore=$(DEMO) --ignore=$(LONG_DAY)
	$(PYTEST) $(ALL) $(DEMO)
	$(PYTEST) --numprocesses=3 --dist=loadfile $(ALL) $(LONG_DAY) tests/unit tests/property
	@$(MAKE) --no-print-directory test-ray-up

test-ray-up: install $(VENV)/.wheels ## ray up over ssh, a topic at work, ray down: apart from all else here, two minutes
	@command -v sshd >/dev/null && command -v rsync >/dev/null && command -v ip >/dev/null || \
	    .ci/apt-install openssh-server rsync iproute2
	@$(APART) true 2>/dev/null || { echo "make test-ray-up needs Linux namespaces of its own (unshare):" \
	    "run it as root or with sudo, in a container with --privileged" >&2; exit 1; }
	$(APART) $(PYTEST) -m slow -p no:cacheprovider tests/launch

# A cluster apart from all else has no way to a package index.
$(VENV)/.wheels: constraints.txt | $(INSTALLED)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --dest $(VENV)/wheels \
	    --requirement constraints.txt 'setuptools>=77'
	@touch $@

check: install ## format, lint, import layers, types, unit and property tests: under 90 seconds
	@$(MAKE) $(PARALLEL) format lint imports types unit

fix: $(INSTALLED) ## format the code and apply ruff's safe fixes
	@$(BIN)/ruff check --fix --exit-zero --silent .
	@$(BIN)/ruff format .
	@$(BIN)/ruff check .

format:
	@$(BIN)/ruff format --check .

lint:
	@$(BIN)/ruff check .

imports:
	@$(BIN)/lint-imports --no-logo

types:
	@$(BIN)/mypy

# Three at once: a part of them waits.
unit:
	@$(PYTEST) --numprocesses=3 tests/unit tests/property

bench-peers: install $(VENV)/.peers ## the CPU of a message beside Celery, Dramatiq, FastStream, Taskiq, pika and C: a quarter of an hour
	@test -e /usr/include/amqp.h || .ci/apt-install gcc libc6-dev librabbitmq-dev || true
	$(BIN)/python -m benchmarks.peers

$(VENV)/.peers: benchmarks/peers/constraints.txt | $(INSTALLED)
	$(BIN)/python -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check --constraint benchmarks/peers/constraints.txt \
	    celery dramatiq 'faststream[rabbit]' pika taskiq taskiq-aio-pika
	@touch $@

docs: install ## docs/metrics.md anew, from the definitions
	$(BIN)/python -m hermes_ray.telemetry.metrics_page > docs/metrics.md

constraints: install ## constraints.txt anew, from what .venv holds
	@sed -n '/^#/p' constraints.txt > $(VENV)/constraints.txt
	@$(BIN)/python -m pip freeze --exclude-editable >> $(VENV)/constraints.txt
	@mv $(VENV)/constraints.txt constraints.txt

clean: ## remove out/, caches and build products
	rm -rf out build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## clean, and remove .venv
	rm -rf $(VENV)
