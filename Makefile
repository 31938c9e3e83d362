# Each target sets up what it needs on a machine that has only make and Python with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-all lint docs clean

demo: $(VENV)/.ready
	$(BIN)/python tools/demo.py

test: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-all: $(VENV)/.ready
	$(BIN)/python -m pytest -n 2 --dist worksteal -m ""

lint: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The site, from docs/, the commands' options and the docstrings: docs/_build/html/index.html.
docs: $(VENV)/.docs-ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going -E -b html docs docs/_build/html

# Made last, so that an interrupted set-up is done again and a finished one is not.
$(VENV)/.ready: requirements.txt pyproject.toml setup.py
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and "error: Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip  # old resolvers search for minutes
	$(BIN)/python -m pip install --quiet --editable '.[all,test,demo]'
	touch $@

$(VENV)/.docs-ready: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable '.[all,docs]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info docs/_build docs/api docs/cli docs/pages
