# make learn      a network of neuron programs learns handwritten digits   (DATASET=iris ARGUMENTS="--seed 3" for another)
# make test       style, types and every test
# make figures    what a network of 86 programs takes, and what that costs: an hour, on an idle machine
# make simulate   a thousand runs in which everything goes wrong, on a simulated network, clock and disk   (SEEDS=10000, or SEED=7 for the story of one)
# make adversary  two hundred runs of real programs that get signals at random: half an hour   (SCHEDULES=20 SEED=7)
# make lock       write the pinned requirements again, after a change of pyproject.toml
# make clean      remove the environment and everything that was built
#
# Needs Python 3.11 or newer, make and git; everything else is installed into .venv.

DATASET ?= digits
ARGUMENTS ?=
PYTEST_ARGUMENTS ?=
FIGURES ?=
SEEDS ?= 1000
SEED ?=
SCHEDULES ?= 200
PROCESSES ?= 2
LOCK_PYTHON ?= python3.13
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
# A candidate may be a stand-in that names a Python which is not there: ask it.
PYTHON ?= $(firstword $(foreach candidate,$(CANDIDATES),$(shell \
	$(candidate) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(candidate))))

BIN := .venv/bin
# Quiet, and with the versions of requirements/constraints.txt.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt
NEEDS := pyproject.toml requirements/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help learn test figures simulate adversary lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

learn: .venv/learn.stamp
	@$(BIN)/coordinator learn $(DATASET) $(ARGUMENTS)

test: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest $(PYTEST_ARGUMENTS)

figures: .venv/test.stamp
	$(BIN)/python -m tests.figures $(FIGURES)

simulate: .venv/test.stamp
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.simulation.campaign \
		$(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --processes $(PROCESSES))

adversary: .venv/test.stamp
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.adversary --schedules $(SCHEDULES) $(if $(SEED),--seed $(SEED))

lock:
	$(LOCK_PYTHON) requirements/lock.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find coordinator neuron_node tests requirements -name __pycache__ -type d -prune -exec rm -rf {} +

# The last stamp of a recipe is written only when all of it went well.
.venv/learn.stamp: .venv/bin/python $(NEEDS)
	@echo "installing the coordinator into .venv"
	@$(INSTALL) --editable '.[coordinator]'
	@touch $@

# Dependency groups need pip 25.1.
.venv/test.stamp: .venv/learn.stamp $(NEEDS)
	@echo "installing the tools of the tests into .venv"
	@$(INSTALL) 'pip>=25.1'
	@$(INSTALL) --group test
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
