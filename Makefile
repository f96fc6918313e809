# `make demo` and `make test` do all the set-up themselves on a machine with Python 3.11 or later.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
LIGHT = .venv-light

.PHONY: help demo test test-light test-install fuzz files fixtures train rules rule index operators golden bench readme clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing torch and the rest into $(VENV): about 2 minutes"
	$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[run,dev]'
	@touch $@

demo: $(READY)  ## the whole job on a real fine-tuned checkpoint: inspect, check, export, bench, gate
	$(BIN)/python -m fixtures.demo

test: $(READY)  ## ruff, mypy, import-linter and pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry interop
	# A worker a core, a thread each; each takes whole rooms, and in the end what another has left.
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n auto --dist worksteal

$(LIGHT)/.ready: pyproject.toml
	test -x $(LIGHT)/bin/python || $(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python -m pip install -qq --disable-pip-version-check -e '.[light]'
	@touch $@

test-light: $(LIGHT)/.ready  ## what needs no torch, in an environment without it: under a minute
	$(LIGHT)/bin/python -m pytest -n auto --dist worksteal

test-install: $(READY)  ## the tests that install packages: the light install, other readers of what we write
	INTEROP_INSTALL=1 $(BIN)/python -m pytest tests/test_install.py tests/test_systems.py \
		tests/export/test_consumers.py tests/report/test_validators.py -n auto

fuzz: $(READY)  ## many random and mutated files and pairs (INTEROP_FUZZ_EXAMPLES each), then guided ones (INTEROP_FUZZ_SECONDS)
	INTEROP_FUZZ=long $(BIN)/python -m pytest tests/fuzz tests/properties -n auto
	$(BIN)/python -m tests.fuzz.guided --all --jobs 2 --seconds $${INTEROP_FUZZ_SECONDS:-600}

files: $(READY)  ## make the corpus of hostile files again (fixtures/corpus.py makes the benign one too)
	$(BIN)/python -m fixtures.corpus hostile

fixtures: $(READY)  ## derive from the committed checkpoints what else people have (seconds)
	$(BIN)/python -m fixtures.make derive

train: $(READY)  ## train the committed checkpoints again (minutes)
	$(BIN)/python -m fixtures.make train

rules: $(READY)  ## make the rules' fixture pairs again
	$(BIN)/python -m fixtures.pairs

rule: $(READY)  ## stamp a new rule: make rule ID=some-fault
	$(BIN)/python -m fixtures.stamp "$(ID)"

index: $(READY)  ## rebuild the index of architectures from the libraries that are installed (10 minutes)
	$(BIN)/interop index build

operators: $(READY)  ## write the table of ONNX's operators anew, by the onnx that is installed
	$(BIN)/python -m tests.reading.onnx_operators

golden: $(READY)  ## accept what the rules and the formats now say
	$(BIN)/python -m tests.rules.matrix
	$(BIN)/python -m tests.report.golden

bench: $(READY)  ## the studies behind the README's figures
	$(BIN)/python -m benchmarks.check
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.export_vs_peers
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.recurrent
	$(BIN)/python -m benchmarks.sweep

readme: $(READY)  ## run the README's commands and put in what they print, and the stored figures
	$(BIN)/python -m benchmarks.readme

clean:  ## remove what was built, and the virtual environment
	rm -rf $(VENV) $(LIGHT) build dist fixtures/derived *.egg-info
