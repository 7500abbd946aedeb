# Both commands share one virtual environment, made on first use (about 6 GB: torch with CUDA).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test slow stress docs documents clean

demo: $(VENV)/installed  ## people, bank, nine small trainings, the table
	$(BIN)/reid-aug demo

test: $(VENV)/installed  ## style, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

slow: $(VENV)/installed  ## the checks that take minutes
	$(BIN)/python -m pytest -q -m slow

docs: $(VENV)/installed  ## the documentation as a site, docs/_build/index.html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build

stress: $(VENV)/installed  ## attacks on files and commands, up to two hours
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.stress files build/stress --cases 10000 --minutes 30
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.stress kills build/stress --cases 1000 --minutes 60
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.stress faults build/stress --cases 400 --minutes 30

documents: $(VENV)/installed  ## rewrite the tables in the documents
	$(BIN)/python tests/test_documents.py

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build dist docs/_build runs *.egg-info
