# `make run` runs the main job, `make test` checks everything, `make test-faults` what takes minutes: killed processes and other faults.
# All need only Python >= 3.11, and install what they lack into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test docs test-lowest test-faults fuzz audit format clean
run: $(VENV)/.installed
	$(BIN)/harness run

# A file of tests is one process's: what is made once a file is made once. A process has one thread.
# One process more than there are cores, since many tests wait for others that they have started; types are checked beside them.
# Ray's workers would wait behind the tests: by default they are nicer than all other processes.
# Python keeps what it compiles, whatever the environment says: else each of the hundreds of commands that tests start compiles all modules.
WORKERS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) + 1 )))
test: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(BIN)/pyright & types=$$!; \
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= RAY_worker_niceness=0 $(BIN)/pytest -m "not slow" -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder; tests=$$?; \
	wait $$types || { echo "pyright found faults, above"; exit 1; }; exit $$tests

# The documentation as a site, in site/index.html; a warning is an error.
docs: $(VENV)/.tested
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The oldest dependencies that pyproject.toml allows, in an environment of their own: the main job, and the tests that touch them most.
# Some 6 GB; to be run where a bound, or code that uses a library, has changed.
LOWEST := .venv-lowest
test-lowest: $(LOWEST)/.installed
	rm -rf $(LOWEST)/run && mkdir $(LOWEST)/run
	cd $(LOWEST)/run && ../bin/harness run --methods linear,vpt --tasks digits --trials 1 --seeds 0
	$(LOWEST)/bin/python -m pytest -o filterwarnings=default tests/harness/backbones tests/harness/training/test_classification.py \
		tests/harness/cli/test_cli.py tests/harness/store/test_database.py  # old libraries warn of each other's age

$(LOWEST)/.installed: pyproject.toml
	rm -rf $(LOWEST) && $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[tfds,postgres,tensorboard]' \
		'pytest>=8' 'pytest-timeout>=2.2' 'hypothesis>=6.100' 'beartype>=0.19'
	@touch $@

test-faults: $(VENV)/.tested
	$(BIN)/pytest tests/faults
	$(BIN)/pytest -m slow --ignore tests/faults tests

# Thousands of broken files for every reader (SEED another number: others). An hour on two cores; COUNT inputs a reader.
COUNT ?= 2000
SEED ?= 0
fuzz: $(VENV)/.tested
	$(BIN)/python tests/fuzz/fuzz.py --count $(COUNT) --seed $(SEED)

# What is known of faults in the dependencies as they are installed here; needs a network. In an environment that is thrown away.
audit: $(VENV)/.tested
	rm -rf $(VENV)/audit && $(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/audit/installed.txt
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement $(VENV)/audit/installed.txt; found=$$?; rm -rf $(VENV)/audit; exit $$found

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "needs Python >= 3.11: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tested: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

clean:
	rm -rf $(VENV) $(LOWEST) dist site .cache
