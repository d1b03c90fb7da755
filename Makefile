# Each target does all its own set-up: a fresh machine needs Python 3.11+ and make, nothing else.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PIP_FLAGS := --quiet --disable-pip-version-check --no-input

.PHONY: up env test lint types format check oracle bench lock

up: $(VENV)/.up
	exec "$(VENV)/bin/cdr" up $(ARGS)

# For `docker compose up`: .env with random secrets. Never overwrites one.
env:
	@"$(PYTHON)" deploy/make_env.py

# A file's tests stay in one process: those of docker compose share one stack. tests/conftest.py has the order of the files,
# which xdist would change to that of their numbers of tests.
test: $(VENV)/.dev
	"$(VENV)/bin/python" -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.dev
	"$(VENV)/bin/ruff" check .
	"$(VENV)/bin/ruff" format --check .

types: $(VENV)/.dev
	"$(VENV)/bin/mypy"

format: $(VENV)/.dev
	"$(VENV)/bin/ruff" check --fix .
	"$(VENV)/bin/ruff" format .

check: lint types test

# Plays the seeds 1 to SEEDS of the oracle (docs/reliability.md), or SEED=17 alone, or SCHEDULE="..." as a round prints it.
SEEDS ?= 20
oracle: $(VENV)/.dev
	PYTHONPATH=tests/acceptance "$(VENV)/bin/python" -m oracle \
	  $(if $(SCHEDULE),--schedule "$(SCHEDULE)",$(if $(SEED),--seed $(SEED),--seeds $(SEEDS))) $(ARGS)

# All parts or, as ONLY=receive, some; needs wrk (docs/performance.md).
bench: $(VENV)/.dev
	"$(VENV)/bin/python" -m benchmarks $(if $(ONLY),--only $(ONLY)) $(ARGS)

# Solves the dependencies again and writes the pinned, hashed requirement files.
lock: $(VENV)/.dev
	"$(VENV)/bin/python" -m pip install $(PIP_FLAGS) uv
	bash requirements/lock "$(VENV)/bin/uv"

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"

$(VENV)/.up: $(VENV)/bin/python requirements/up.txt pyproject.toml
	@echo "Installing what is pinned in requirements/ into $(VENV); the first time takes a minute or two." >&2
	"$(VENV)/bin/python" -m pip install $(PIP_FLAGS) --require-hashes -r requirements/up.txt
	"$(VENV)/bin/python" -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation --editable .
	@touch "$@"

$(VENV)/.dev: $(VENV)/.up requirements/dev.txt
	"$(VENV)/bin/python" -m pip install $(PIP_FLAGS) --require-hashes -r requirements/dev.txt
	@touch "$@"
