# The only command surface. Every target works alone on a machine with Python, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROVIDERS := $(wildcard providers/*) backend
READY := $(VENV)/.ready

.PHONY: demo soak test coverage test-all wheels check docs bench interop w3c clean drill
.DEFAULT_GOAL := test

$(READY): pyproject.toml $(wildcard providers/*/pyproject.toml) backend/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e . $(PROVIDERS:%=-e %) --group dev --group docs
	touch $(READY)

test: $(READY)
	$(BIN)/pytest -n auto --dist loadfile

# The coverage of the core and the providers by the whole suite, subprocesses included.
coverage: $(READY)
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m pytest -n auto --dist loadfile
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Ten minutes of mixed use of the store; SECONDS=60 for less.
soak: $(READY)
	$(BIN)/python -m benchmarks.backend.soak $(or $(SECONDS),600)

bench: $(READY)
	$(BIN)/python -m benchmarks

# The backend is killed twenty times under load, with and without tail sampling.
drill: $(READY)
	KAI_TRACING_DRILL_KILLS=20 $(BIN)/pytest backend/tests/test_drill.py

demo: $(READY)
	$(BIN)/kai-tracing demo

interop: $(READY)
	$(BIN)/python tools/interop/run.py

# The W3C's test suite of Trace Context; SOURCE=/a/clone of it where there is no network.
w3c: $(READY)
	SOURCE="$(SOURCE)" $(BIN)/python tools/interop/w3c.py

# The tests on every supported Python that is installed here, and with the lowest dependencies.
test-all: $(READY)
	tools/ci/test_all.sh

# Every wheel in dist/, tried in empty environments, and the examples of every page with what the page says to install.
wheels: $(READY)
	tools/ci/wheels.sh

clean:
	rm -rf $(VENV) .benchmarks dist build site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
