# SPDX-License-Identifier: Apache-2.0
# Every target begins with `setup` as needed: a clean clone with Python >= 3.11 is enough.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.setup-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
SITE   := $(STAMP:$(VENV)/.setup-%=$(VENV)/.site-%)

# numba and the linear algebra libraries pick their own thread counts; two workers on two cores must not fight.
export TZ := UTC
TEST_THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 POLARS_MAX_THREADS=2

.PHONY: help setup demo test test-compiled test-uncompiled test-services bench evaluate lint format docs site clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with everything the commands and tests need (does nothing when it is up to date)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "ringfence needs Python >= 3.11; run: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing ringfence and what it needs into $(VENV), versions pinned by constraints.txt: a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@rm -f $(VENV)/.setup-*
	@touch $(STAMP)

demo: setup ## simulate an insurer, train, serve, and decide live claims until interrupted
	$(BIN)/ringfence demo

test: lint test-compiled test-uncompiled ## lint, types, import rules and all tests with branch coverage
	$(BIN)/coverage report --skip-covered

test-compiled: setup
	$(TEST_THREADS) $(BIN)/pytest -n 2 --dist loadfile -m "not services" --cov --cov-report= --cov-fail-under=0

# The kernels once more, as plain Python: what coverage sees of them, and what a debugger steps through.
test-uncompiled: setup
	NUMBA_DISABLE_JIT=1 $(TEST_THREADS) $(BIN)/pytest -n 2 --dist loadfile -m "not services and not compiled and not data" \
	  --cov --cov-append --cov-report= --cov-fail-under=0 tests/engine tests/models tests/oracles tests/rings tests/timelines

test-services: setup ## tests that need services or system packages (installed here when missing)
	bash scripts/install_services.sh
	$(TEST_THREADS) $(BIN)/pytest -m services; code=$$?; test $$code -eq 5 || exit $$code

lint: setup ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup ## write the generated pages of docs/reference, and run the notebooks and tutorials
	$(BIN)/python scripts/generate_reference.py
	$(BIN)/python scripts/execute_notebook.py
	$(BIN)/python scripts/run_tutorials.py

site: $(SITE) ## build the pages as a site in site/, offline; a link or anchor that leads nowhere fails
	rm -rf site
	$(BIN)/python -m sphinx -q -E -W --keep-going -b html -c docs -d build/doctrees . site
	$(BIN)/python scripts/check_site.py site

$(SITE): $(STAMP)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@rm -f $(VENV)/.site-*
	@touch $(SITE)

bench: setup ## the engine beside other libraries, fast reasons against exact ones, the service under load, under kill -9 and in trouble
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	$(BIN)/python -m benchmarks.engine --quick
	$(BIN)/python -m benchmarks.replay
	$(BIN)/python -m benchmarks.neighbourhood
	$(BIN)/python -m benchmarks.feature_costs
	$(BIN)/python -m benchmarks.live
	$(BIN)/python -m benchmarks.reasons
	$(BIN)/python -m benchmarks.service --rate 500 --seconds 60
	$(BIN)/python -m benchmarks.service --closed 64
	$(BIN)/python -m benchmarks.service --batch 64
	$(BIN)/python -m benchmarks.telemetry
	$(BIN)/python -m benchmarks.rows
	$(BIN)/python -m benchmarks.first_day
	$(BIN)/python -m benchmarks.lookups
	$(BIN)/python -m benchmarks.rings
	$(BIN)/python -m benchmarks.rings_speed
	$(BIN)/python -m benchmarks.durability --rounds 10
	bash scripts/install_services.sh
	$(BIN)/python -m benchmarks.durability --rounds 10 --unsynced
	$(BIN)/python -m benchmarks.trouble
	$(BIN)/python -m benchmarks.service --peer --rate 100 --seconds 30

evaluate: setup ## how hard the simulated worlds are, and the public protocols, whose tables it writes into examples/ (needs the data sets)
	$(BIN)/python -m benchmarks.worlds --check
	$(BIN)/python -m benchmarks.p1 --write
	$(BIN)/python -m benchmarks.p2 --write
	$(BIN)/python -m benchmarks.p3 --write
	$(BIN)/python -m benchmarks.p4 --write
	$(BIN)/python -m benchmarks.p5 --write
	$(BIN)/python -m benchmarks.leakage

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build site *.egg-info
