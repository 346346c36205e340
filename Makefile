# Everything from nothing but Python 3.11 and pip. The two stamps below .venv make a second call skip the installation.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: verify test check figures bench docs clean

verify: $(VENV)/verify.stamp
	$(BIN)/tailbound verify

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -q -n 2

check: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m tailbound.theory.claim_index --check

figures: $(VENV)/verify.stamp
	$(BIN)/tailbound figures --out figures

bench: $(VENV)/verify.stamp
	for each in benchmarks/*.py; do echo "== $$each"; $(BIN)/python $$each || exit 1; done

docs: $(VENV)/verify.stamp
	$(BIN)/python -m tailbound.theory.claim_index

$(VENV)/verify.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/verify.stamp
	$(PIP) --editable '.[dev,dask,nn]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info figures
