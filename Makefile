# make test    set up, lint, run the tests
# make test-all  the same with the long tests
# make train   set up, train a small language model on text that Python ships with
# make audit   set up, look for known vulnerabilities of what is needed to run
# make lint    set up, check style and formatting
# make clean   remove what these made, except runs/
#
# Any Python from 3.11 to 3.13: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PIP := -m pip install -qq --disable-pip-version-check --no-input
WORKERS ?= 2
# Saves page faults, up to a third of the time; where there is no glibc, it says nothing.
HUGE_PAGES := GLIBC_TUNABLES=glibc.malloc.hugetlb=1
PYTEST_ARGS ?=

.DEFAULT_GOAL := test
.PHONY: test test-all train audit lint venv clean

test: lint
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal \
	  --durations 25 --durations-min 8 $(PYTEST_ARGS)

test-all: PYTEST_ARGS += -m ""
test-all: test

train: $(READY)
	@$(HUGE_PAGES) $(BIN)/python train.py --config=configs/lm_embedded.py:compare \
	  --workdir=runs/lm_embedded

audit: $(READY)
	@$(BIN)/python $(PIP) --editable '.[audit]'
	@$(BIN)/python -m tests.audit

lint: $(READY)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || \
	  { echo "Not formatted; $(BIN)/ruff format . does it."; exit 1; }

venv: $(READY)

# The stamp is touched last, so a set-up that was interrupted runs again.
# Debian's bare python3 has no ensurepip; its pip then fills the environment.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; \
	  sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
	  { echo "wmlstm_jax needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo missing); name one that fits," \
	    "as in: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) (once, about a minute)"
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; \
	  then $(PYTHON) -m venv --clear $(VENV); \
	  else $(PYTHON) -m venv --clear --without-pip $(VENV) && \
	    $(PYTHON) -m pip --python $(BIN)/python install -qq pip; fi
	@$(BIN)/python $(PIP) --editable '.[dev]'
	@touch $(READY)

clean:
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
