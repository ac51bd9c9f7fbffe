# One front door. `make` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-lock

.PHONY: help install demo test check lint types layers unit integration bench-stream bench-memory bench-core bench-state bench-gateway bench-sdk bench-queries bench-latency coverage mutation lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml scripts/bootstrap.sh
	@bash scripts/bootstrap.sh $(VENV)
	@touch $@

demo: install ## run the main job once, end to end, and reconcile it
	@$(BIN)/licmeter demo

check: lint types layers ## what can be seen without running anything

test: check ## all checks and all tests, on real parts
	@bash scripts/chromium.sh
	@bash scripts/run_tests.sh $(BIN)

lint: install ## ruff: format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install ## mypy --strict
	$(BIN)/mypy

layers: install ## import-linter: layers point one way
	$(BIN)/lint-imports

unit: install ## the tests that need nothing
	$(BIN)/pytest tests/unit tests/contract tests/property

integration: install ## the tests on the real broker and engine
	$(BIN)/pytest tests/integration

bench-stream: install ## events/s of the stream next to a stock Faust agent
	$(BIN)/python -m benchmarks.bench_stream

bench-memory: install ## memory of a worker over 2 million reports
	$(BIN)/python -m benchmarks.bench_memory

bench-core: install ## reports/s of the core alone, by charge way
	$(BIN)/python -m benchmarks.bench_core

bench-state: install ## memory, disk and recovery with 10 million remembered reports
	$(BIN)/python -m benchmarks.bench_state

bench-gateway: install ## reports/s of the gateway, next to the same server without validation and Kafka
	$(BIN)/python -m benchmarks.bench_gateway

bench-sdk: install ## nanoseconds of record(), next to opentelemetry's counter
	$(BIN)/python -m benchmarks.bench_sdk

bench-queries: install ## milliseconds of each view of the statistics over 20 million rows
	$(BIN)/python -m benchmarks.bench_queries

bench-latency: install ## seconds from an accepted report to statistics and alerts, at half of peak load
	$(BIN)/python -m benchmarks.bench_latency

coverage: install ## write docs/domain-coverage.md anew: which test holds which rule
	$(BIN)/python scripts/domain_coverage.py

mutation: install ## mutation testing of the core (about 15 minutes)
	$(BIN)/python scripts/mutation.py

lock: install ## resolve requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --extra all --group dev --universal --generate-hashes \
		--python-version 3.11 --no-header --no-emit-index-url --no-annotate --upgrade -o requirements.lock

clean: ## remove what the targets made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache dist
