# Each target sets up what it needs on a fresh machine: Python >= 3.11 with venv, nothing else.
PYTHON ?= python3
VENV ?= .venv
# for parity tests alone; this release has a CPU wheel. TORCH=none tests without it and what needs it
TORCH ?= torch==2.13.0

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

$(VENV)/.test: setup.py $(VENV)/.run
ifeq ($(TORCH),none)
	$(VENV)/bin/python -m pip install --quiet --editable '.[test-without-torch]'
else
	$(VENV)/bin/python -m pip install --quiet '$(TORCH)'
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
endif
	touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info .jax_cache
