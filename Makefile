# make demo   set everything up and run the whole graph on the shipped data
# make test   set everything up and run the tests
# make help   the rest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CLUSTER_STAMP := $(VENV)/.installed-cluster
DOCS_STAMP := $(VENV)/.installed-docs
export RETAIL_ASSETS_HOME ?= $(CURDIR)/data
export DAGSTER_HOME ?= $(RETAIL_ASSETS_HOME)/dagster
BENCHES := inventory_status substitution scenarios cold_start demand pricing assortment chain ingest faults start_up
# Warnings are errors; nothing is fetched.
SPHINX := $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build
# A second oracle of the inventory tests. It pins the documentation tools of its own project, 35
# packages that its functions do not use: installed alone.
ORACLES := stockpyl==1.0.2

.PHONY: help setup demo ui test lint format e2e soak bench bench-large examples docs clean

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

# The extra [cluster] is for the end-to-end tests only: neither a laptop nor make test needs it.
$(CLUSTER_STAMP): $(STAMP)
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[cluster]'; \
	else \
	  $(BIN)/python -m pip install --quiet --compile -c constraints.txt -e '.[cluster]'; \
	fi
	@touch $@

# The extra [docs] is for make docs and make lint.
$(DOCS_STAMP): $(STAMP)
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[docs]'; \
	else \
	  $(BIN)/python -m pip install --quiet --compile -c constraints.txt -e '.[docs]'; \
	fi
	@touch $@

setup: $(STAMP)  ## install only

demo: $(STAMP)  ## run the whole graph on the shipped data and say what it found
	@$(BIN)/retail-assets demo

ui: $(STAMP)  ## open the Dagster UI with the demo's state
	@$(BIN)/retail-assets ui

# A file's tests share what is dear to make: each file stays with one process.
test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore retail_assets_tests/e2e

e2e: $(CLUSTER_STAMP)  ## real servers, a browser, backfills, and a cluster on loopback that loses a worker
	$(BIN)/python -m pytest retail_assets_tests/e2e retail_assets_tests/test_deploy.py

soak: $(STAMP)  ## twenty minutes of schedules and sensors at work, watched
	$(BIN)/python -m retail_assets_tests.e2e.soak

# bandit reads the code; pip-audit asks the network about the pinned packages, and is passed over
# where it is not installed or finds no network within its time.
lint: $(DOCS_STAMP)  ## style, types, documentation, security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(SPHINX)
	@if $(BIN)/python -c "import bandit" 2>/dev/null; then \
	  $(BIN)/python -m bandit --quiet --recursive --configfile pyproject.toml retail_assets; \
	else echo "bandit is not installed: passed over"; fi
	@if $(BIN)/python -c "import pip_audit" 2>/dev/null; then \
	  timeout 30 $(BIN)/python -m pip_audit --requirement constraints.txt --no-deps --disable-pip \
	    --progress-spinner off > $(VENV)/.audit 2>&1; \
	  if grep -q "^Found .* known vulnerabilit" $(VENV)/.audit; then cat $(VENV)/.audit; exit 1; fi; \
	  echo "pip-audit: $$(head -n 1 $(VENV)/.audit)"; \
	else echo "pip-audit is not installed: passed over"; fi

format: $(STAMP)  ## let ruff mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## every claim, measured
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m bench $$name || failed=1; done; exit $${failed:-0}

bench-large: $(STAMP)  ## the sizes that take minutes
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m bench $$name --large || failed=1; done; exit $${failed:-0}

# Every example from end to end, those of data that is here: see examples/README.md.
examples: $(STAMP)  ## the examples whole, against what they expect
	@if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[demo]'; \
	else \
	  $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[demo]'; \
	fi
	RETAIL_ASSETS_EXAMPLES=whole $(BIN)/python -m pytest retail_assets_tests/examples

docs: $(DOCS_STAMP)  ## write docs/data_contract.md from the contract, then the pages into docs/_build
	$(BIN)/python -m retail_assets.report.contract_page > docs/data_contract.md
	$(SPHINX)

clean:  ## remove what runs made; shipped data stays
	rm -rf data/lake data/dagster data/retail.duckdb data/settings.toml data/report.html e2e_artifacts docs/_build docs/api
