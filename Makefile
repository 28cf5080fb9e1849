# The only command surface. Every target works alone on a machine with Python, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROVIDERS := $(wildcard providers/*)
READY := $(VENV)/.ready

.PHONY: demo test check docs bench interop clean
.DEFAULT_GOAL := test

$(READY): pyproject.toml $(wildcard providers/*/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e . $(PROVIDERS:%=-e %) --group dev --group docs
	touch $(READY)

test: $(READY)
	$(BIN)/pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
