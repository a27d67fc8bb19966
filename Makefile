# Two commands matter: `make demo` runs the whole path once, `make test` proves it. Both set everything up first.
# They need Python 3.11 and make, and nothing else; PYTHON=... names another interpreter.

PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/installed-$(shell cksum requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: help setup demo test test-fast test-tz test-bi check bench chaos clean

help:  ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make the virtual environment and the model; nothing else

# The lock is complete, so pip resolves nothing: --no-deps also keeps torch from drawing gigabytes of CUDA where a CPU
# build is at hand. torch comes first and by itself, with what it needs on a machine that has no CPU build.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "vocstream needs Python 3.11: make PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar off "$$(grep '^torch==' requirements.lock)"
	$(BIN)/pip install --quiet --disable-pip-version-check --progress-bar off --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pipeline.models_at_hand
	rm -f .venv/installed-* && touch $@

demo: setup  ## Run the main job on real parts and show its scores
	$(BIN)/vocstream demo

test: setup check  ## All checks and all tests
	$(BIN)/python -m pytest

test-fast: setup  ## The tests that start no process
	$(BIN)/python -m pytest tests/unit

test-bi: setup .venv-superset/ready .venv-dbt/ready .venv-node/ready  ## Superset, dbt and Node for real (docs/bi.md; the first run takes about 15 minutes)
	$(BIN)/python -m pytest tests/bi -m bi -v -s

# Environments of their own: what these tools pin does not go together with what vocstream pins, nor with each other.
.venv-%/ready: infra/%/requirements.txt
	@echo "$*: packages into .venv-$* (minutes, only now)"
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install --quiet --disable-pip-version-check --progress-bar off --no-deps -r $<
	touch $@

.venv-node/ready: tests/bi/package.json
	@mkdir -p .venv-node && cp $< .venv-node/
	@if command -v npm >/dev/null; then echo "node: @clickhouse/client into .venv-node"; \
		npm install --silent --no-audit --no-fund --prefix .venv-node; else echo "node: npm is not installed; its test is skipped"; fi
	@! command -v npm >/dev/null || touch $@

test-tz: setup  ## The tests that touch time, with the machine in three time zones (many minutes)
	for zone in UTC America/Sao_Paulo Asia/Kolkata; do echo "TZ=$$zone"; TZ=$$zone $(BIN)/python -m pytest tests/unit \
		$(wildcard tests/integration/test_clickhouse_*.py tests/integration/test_store_*.py) \
		tests/integration/test_stream.py $(wildcard tests/integration/test_alerts_*.py) tests/chaos || exit 1; done

check: setup  ## Style, types and the rooms' import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## All benchmarks (two hours)
	$(BIN)/python -m bench

chaos: setup  ## Kill and pause the parts for a quarter of an hour and compare every score (SEEDS=10)
	$(BIN)/vocstream chaos --seeds $(or $(SEEDS),10) --faults 20

clean:  ## Remove the environment, not the data
	rm -rf .venv .venv-superset .venv-dbt .venv-node .mypy_cache .ruff_cache .pytest_cache
