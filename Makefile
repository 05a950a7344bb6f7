# Everything that one does with this repository: `make help` lists it.
#
# The virtual environment is made at first use and brought up to date when pyproject.toml changes. Another Python:
# `make test PYTHON=python3.13 VENV=.venv313`.

PYTHON ?= python3
VENV ?= .venv
export VENV

.PHONY: help demo test lint bench clean
.DEFAULT_GOAL := help

help:  ## list what can be made
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.for-demo  ## measure the Python standard library; the second run finds everything kept
	$(VENV)/bin/python examples/stdlib_report.py

test: $(VENV)/.for-test  ## run all tests
	scripts/test

lint: $(VENV)/.for-lint  ## check format, style and types
	scripts/lint

bench: $(VENV)/bin/python  ## measure kept beside its peers; makes environments for them, takes long
	scripts/bench

clean:  ## remove the virtual environment and what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "kept needs Python 3.10 or later: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Stamps: what is installed, and for which pyproject.toml.
$(VENV)/.for-demo: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -qq -e .
	@touch $@

$(VENV)/.for-test: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -qq -e '.[test]'
	@touch $@ $(VENV)/.for-demo

$(VENV)/.for-lint: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install -qq -e '.[dev]'
	@touch $@ $(VENV)/.for-demo $(VENV)/.for-test
