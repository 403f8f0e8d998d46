# Each target sets up what it needs on a fresh machine: Python >= 3.11 with venv, nothing else.
PYTHON ?= python3
VENV ?= .venv

.PHONY: demo test check bench clean

demo: $(VENV)/.run
	$(VENV)/bin/jaxunlearn demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -n 2

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyrefly check
	$(VENV)/bin/python -m pytest -n 2

bench: $(VENV)/.test
	$(VENV)/bin/python tests/tools/bench_ratios.py

$(VENV)/.run: setup.py
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

# torch is for parity tests alone; this release has a CPU wheel
$(VENV)/.test: setup.py $(VENV)/.run
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info .jax_cache
