# make demo: the pretrained models, then a minute of training.   make test: what CI runs.   make quick: under a minute.
# make fuzz: damaged files and odd options for an hour; a finding is printed with the line that repeats it.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo pretrained test quick lint types unit fuzz bench clean

demo: .venv/installed
	$(BIN)/python benchmarks/demo.py

pretrained: .venv/installed
	$(BIN)/python benchmarks/pretrained.py

test: lint types unit

quick: lint .venv/installed-dev
	$(BIN)/python -m pytest -m "not slow" -n auto

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell

types: .venv/installed-dev
	$(BIN)/mypy

unit: .venv/installed-dev
	$(BIN)/python -m pytest -rs -n auto --dist worksteal

fuzz: .venv/installed-dev
	$(BIN)/python -m pytest tests/fuzz -n auto --dist worksteal --hypothesis-profile=fuzz

bench: .venv/installed
	for name in startup step sample train cells ngram; do $(BIN)/python benchmarks/$$name.py || exit 1; done

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "charrnn needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e .
	@touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e '.[dev]'
	@touch $@ .venv/installed

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
