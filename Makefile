PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SECONDS ?= 60
DEVICE ?= gpu
.PHONY: help setup demo test lint fuzz gpu-check bench docs studio clean
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	@echo "== creating $(VENV) and installing pxvm with its development tools"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "pxvm needs Python 3.10 or newer; found " + sys.version)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

setup: $(STAMP) ## create .venv and install what pxvm needs

demo: $(STAMP) ## run every example on real input; pictures go to demo/
	@echo "== running the examples; pictures go to demo/"
	@$(BIN)/python pxvm/examples/demo.py

lint: $(STAMP)
	@echo "== ruff"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/mypy

test: lint ## lint, types and all tests
	@echo "== a GPU for the tests"
	@$(BIN)/python -m tests.gpu.driver
	@echo "== pytest"
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

fuzz: $(STAMP) ## random programs on two executors for SECONDS seconds (default 60)
	@$(BIN)/python -m tests.differential --seconds $(SECONDS) --devices reference,cpu $(LARGE)

gpu-check: $(STAMP) ## is a GPU's every byte the processor's? DEVICE=gpu:1, SECONDS of random programs
	@$(BIN)/python -m tests.gpu.check --device $(DEVICE) --seconds $(SECONDS)

bench: $(STAMP) ## benchmarks, each beside its peer; installs the peers, which takes minutes once
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@$(BIN)/python -m benchmarks

docs: $(STAMP) ## rewrite the reference pages that are generated from the tables
	@$(BIN)/python -m pxvm.core.reference_page

studio: $(STAMP) ## build the page of pxvm studio from studio/; needs Node
	@echo "== tables, packages, build"
	@$(BIN)/python -m pxvm.studio.generated
	@cd studio && npm ci --no-audit --no-fund && npm run check && npm run build

clean: ## remove what the other targets made
	rm -rf $(VENV) demo build dist studio/node_modules *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
