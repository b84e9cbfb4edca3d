# make demo   set everything up and run the whole graph on the shipped data
# make test   set everything up and run the tests
# make help   the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export RETAIL_ASSETS_HOME ?= $(CURDIR)/data
export DAGSTER_HOME ?= $(RETAIL_ASSETS_HOME)/dagster
BENCHES := inventory_status substitution scenarios cold_start demand pricing assortment ingest
# A second oracle of the inventory tests. It pins the documentation tools of its own project, 35
# packages that its functions do not use: installed alone.
ORACLES := stockpyl==1.0.2

.PHONY: help setup demo ui test lint format e2e bench bench-large docs clean

help:
	@grep -E '^# make|^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^# //; s/:.*## /\t/'

# Bytecode is compiled at install: otherwise every Dagster process compiles every library again.
$(STAMP): pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
	  echo "installing with uv ..."; \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[test]' && \
	  uv pip install --quiet --python $(BIN)/python --no-deps $(ORACLES); \
	else \
	  echo "installing with pip (a minute or two) ..."; \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --compile -c constraints.txt -e '.[test]' && \
	  $(BIN)/python -m pip install --quiet --no-deps $(ORACLES); \
	fi
	@$(BIN)/python -m compileall -q retail_assets
	@touch $@

setup: $(STAMP)  ## install only

demo: $(STAMP)  ## run the whole graph on the shipped data and say what it found
	@$(BIN)/retail-assets demo

ui: $(STAMP)  ## open the Dagster UI with the demo's state
	@$(BIN)/retail-assets ui

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest --ignore retail_assets_tests/e2e

e2e: $(STAMP)  ## real servers and a browser
	$(BIN)/python -m pytest retail_assets_tests/e2e

lint: $(STAMP)  ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## let ruff mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every claim, measured
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m bench $$name || failed=1; done; exit $${failed:-0}

bench-large: $(STAMP)  ## the sizes that take minutes
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m bench $$name --large || failed=1; done; exit $${failed:-0}

docs: $(STAMP)  ## write docs/data_contract.md from the contract
	$(BIN)/python -m retail_assets.report.contract_page > docs/data_contract.md

clean:  ## remove what runs made; shipped data stays
	rm -rf data/lake data/dagster data/retail.duckdb data/settings.toml e2e_artifacts
