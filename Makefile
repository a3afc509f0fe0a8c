# Each target sets up what it needs in .venv on a machine that has only Python, pip and make.
PYTHON ?= python3
EXTRA ?=
LOCK := requirements$(if $(EXTRA),-$(EXTRA)).lock
VENV := .venv
STAMP := $(VENV)/installed$(if $(EXTRA),-$(EXTRA))
PY := $(VENV)/bin/python
# Some images forbid Python to keep what it compiled. TensorFlow's modules alone would then take 13 s more at each start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install quickstart forgetting test test-fast lint docs lock bench

help:
	@echo "make install      set up $(VENV) from the lock file (EXTRA=cuda or EXTRA=tpu for accelerators)"
	@echo "make quickstart   train, evaluate before and after, show what came out"
	@echo "make test         run the tests: about 15 minutes on two cores"
	@echo "make test-fast    the part that starts no process and compiles nothing large: under three minutes"
	@echo "make lint         ruff, pyright, and who may import whom"
	@echo "make docs         write docs/reference, docs/schema and tests/golden anew, from the code"
	@echo "make forgetting   what each way to fine-tune forgets, and what keeps it: one table, one figure"
	@echo "make bench        speed beside what a user would pick instead, as ratios inside one run (DATA=folder: on DialogSum, too)"

install: $(STAMP)

# uv installs the locked versions in seconds; pip would take minutes. Hashes are checked.
$(STAMP): $(LOCK) pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" || \
	  { echo "error: Python 3.11 to 3.13 is needed; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip --quiet --disable-pip-version-check install uv==0.13.8
	$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes --requirements $(LOCK)
	$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --editable .
	touch $@

# Large buffers that XLA frees after each step come back in large pages instead of one small page fault after the other.
quickstart forgetting bench: export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
quickstart: install
	$(PY) -m train configs/quickstart.yaml
	$(PY) -m eval configs/quickstart.yaml > /dev/null  # its table comes with the summary
	$(PY) -m eval compare runs/quickstart > /dev/null
	$(PY) -m eval.report.summary runs/quickstart

forgetting: install
	$(PY) -m launch study configs/forgetting

# Several processes: much of the time goes into compiling small programs, each in one thread. Files stay whole, for fixtures are
# shared, and come in the order of tests/conftest.py.
test: install
	$(PY) -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-fast: install
	$(PY) -m pytest --numprocesses=auto --dist=loadfile --no-loadscope-reorder --fast -q $(PYTEST_ARGS)

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright
	$(VENV)/bin/lint-imports --no-cache > /dev/null || $(VENV)/bin/lint-imports --no-cache

docs: install
	$(PY) -m tools.reference

# Each says by its exit status whether it missed its aim; all are asked, then make fails if one did. PyTorch, which most of it compares
# with, is in no lock file; it comes as in .ci/run.
BENCHES = input prepare methods compile saving step
VOCABULARY ?= $(DATA)/t5_vocab/spiece.model
bench: install
	$(PY) -c "import torch" 2> /dev/null || $(PY) -m pip --quiet --disable-pip-version-check install torch==2.13.0
	trap 'exit 130' INT; missed=; for bench in $(BENCHES); do $(PY) -m bench.$$bench || missed="$$missed $$bench"; done; \
	for bench in $(if $(DATA),epoch decode); do \
	  $(PY) -m bench.$$bench --root $(DATA) --vocabulary $(VOCABULARY) || missed="$$missed $$bench"; done; \
	test -z "$$missed" || { echo "missed:$$missed"; exit 1; }

# Newest versions that pyproject.toml allows, for all its Python versions, with hashes and without an index's address.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url pyproject.toml
lock: install
	$(COMPILE) --upgrade --extra dev --output-file requirements.lock
	$(COMPILE) --extra dev --extra cuda --constraints requirements.lock --output-file requirements-cuda.lock
	$(COMPILE) --extra dev --extra tpu --constraints requirements.lock --output-file requirements-tpu.lock
