# make learn      train a network of neuron programs on handwritten digits   (DATASET=iris ARGUMENTS="--seed 3" for another)
# make page       the same, with a live page in the browser
# make test       check style, types and prose, and run the tests, except those marked slow
# make test-all   the same, and the slow tests too
# make coverage   run the tests without containers, print the coverage of branches and lines, and check its limits
# make docs       build the documentation site into build/site, and check its links
# make figures    measure faults and costs of a network of 86 programs; takes an hour on an idle machine
# make screenshots  train a network, and make the pictures of the documents from its page and its report; needs Chromium
# make simulate   simulate a thousand runs with faults of network, clock and disk   (SEEDS=10000, or SEED=7 to trace one)
# make adversary  send signals at random to the programs of two hundred runs; takes half an hour   (SCHEDULES=20 SEED=7)
# make lock       write the pinned requirements again, after a change of pyproject.toml
# make release    check that version, changelog, wheel and images agree
# make dev        install the tools for contributors: documentation and pre-commit
# make clean      remove the environment and everything that was built
#
# Needs Python 3.11 or newer, make and git. Everything else is installed into .venv.

DATASET ?= digits
ARGUMENTS ?=
PYTEST_ARGUMENTS ?=
SELECTION := -m "not slow"
# Most tests wait for programs, so two workers take half the time. Three are a tenth faster on two cores, but with them
# tests failed that count recoveries.
WORKERS ?= 2
PYTEST := -m pytest --numprocesses $(WORKERS) --dist load --durations=20
FIGURES ?=
SEEDS ?= 1000
SEED ?=
SCHEDULES ?= 200
PROCESSES ?= 2
LOCK_PYTHON ?= python3.13
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11
# A candidate may be a wrapper for a Python that is not installed: run it.
PYTHON ?= $(firstword $(foreach candidate,$(CANDIDATES),$(shell \
	$(candidate) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $(candidate))))

BIN := .venv/bin
# Install quietly, with the versions of requirements/constraints.txt. Python compiles a module when it is first imported: most of
# those of the tools never are, and compiling all of them took half the time.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint requirements/constraints.txt
NEEDS := pyproject.toml requirements/constraints.txt

# The tests start programs by the hundred, and a start takes half as long again without compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help learn page test test-all coverage docs figures screenshots simulate adversary lock release dev clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

learn: .venv/learn.stamp
	@$(BIN)/coordinator learn $(DATASET) $(ARGUMENTS)

page: .venv/page.stamp
	@$(BIN)/coordinator learn $(DATASET) --dashboard $(ARGUMENTS)

test: .venv/test.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m tests.docs.prose
	$(BIN)/python $(PYTEST) $(SELECTION) $(PYTEST_ARGUMENTS)

test-all: SELECTION :=
test-all: test

# Programs that the tests start are measured too, also those that end with os._exit; see [tool.coverage] in pyproject.toml.
# Programs in containers are not.
coverage: export COVERAGE_FILE := $(CURDIR)/build/coverage/data
coverage: .venv/test.stamp
	rm -rf build/coverage
	mkdir -p build/coverage
	$(BIN)/coverage run $(PYTEST) -m "not slow and not containers" $(PYTEST_ARGUMENTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage json --quiet -o build/coverage/report.json
	$(BIN)/python -m tools.coverage_limits build/coverage/report.json

docs: .venv/docs.stamp
# Without --quiet: MkDocs would count no warnings.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the site is build/site/index.html"

figures: .venv/test.stamp
	$(BIN)/python -m tests.figures $(FIGURES)

screenshots: .venv/test.stamp
	@$(BIN)/python -m tools.screenshots

simulate: .venv/test.stamp
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.simulation.campaign \
		$(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --processes $(PROCESSES))

adversary: .venv/test.stamp
	@OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.adversary --schedules $(SCHEDULES) $(if $(SEED),--seed $(SEED))

release: .venv/test.stamp
	@$(BIN)/python -m tools.release

dev: .venv/test.stamp .venv/docs.stamp
	@$(INSTALL) --group dev

lock:
	$(LOCK_PYTHON) requirements/lock.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find coordinator neuron_node tests requirements tools -name __pycache__ -type d -prune -exec rm -rf {} +

# A recipe writes its stamp only after all its commands have succeeded.
.venv/learn.stamp: .venv/bin/python $(NEEDS)
	@echo "installing the coordinator into .venv"
	@$(INSTALL) --editable '.[coordinator]'
	@touch $@

.venv/page.stamp: .venv/learn.stamp $(NEEDS)
	@echo "installing the page into .venv"
	@$(INSTALL) --editable '.[coordinator,dashboard]'
	@touch $@

# Dependency groups need pip 25.1.
.venv/test.stamp: .venv/learn.stamp $(NEEDS)
	@echo "installing the tools of the tests into .venv"
	@$(INSTALL) 'pip>=25.1'
	@$(INSTALL) --group test
	@touch $@

.venv/docs.stamp: .venv/test.stamp $(NEEDS)
	@echo "installing the tools of the documentation into .venv"
	@$(INSTALL) --group docs
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11 or newer: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
