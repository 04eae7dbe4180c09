# The commands of this project. Each makes the environment (.venv) first where it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test slow check bench gpu docs clean

demo: .venv/made  ## the main job: dictionaries trained and scored on the bundled OthelloGPT, and a report
	$(BIN)/unweave demo

test: .venv/made  ## the tests that need no GPU and no long wait
	$(BIN)/pytest -n auto --dist loadfile

slow: .venv/made  ## the tests that take minutes: deep perft, pretraining, planted truth for every method
	$(BIN)/pytest -m slow -n auto --dist loadfile

check: .venv/made  ## format, lint, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright

bench: .venv/made  ## every measurement under benchmarks/ that needs no GPU
	@for script in $(filter-out benchmarks/gpu.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

gpu: .venv/made  ## on a machine with a GPU: the tests that need one, and what a step costs there
	$(BIN)/pytest -m gpu
	$(BIN)/python benchmarks/gpu.py

docs: .venv/made  ## the pages under docs/ as a site under site/
	$(BIN)/python docs/metrics.py
	$(BIN)/python docs/methods.py
	$(BIN)/python docs/families.py
	$(BIN)/mkdocs build --strict --quiet

clean:  ## everything made here, but not your runs
	rm -rf .venv site .pytest_cache .ruff_cache .hypothesis

.venv/made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "unweave needs Python 3.11 or newer, and $(PYTHON) is not; name one that is: make PYTHON=python3.12 demo" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
