# Every target does its own set-up; what is done already is not done again.
# PYTHON=python3.12 make test  uses another interpreter for a new .venv.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --constraint constraints.txt
BUILD := pyproject.toml constraints.txt $(wildcard hatch_build.py)

# ONNX Runtime reports to its maker, and keeps files for that in the home directory, unless told.
export ORT_DISABLE_TELEMETRY := 1

.PHONY: help demo test test-fast test-long conformance serving-tests oracle fuzz faults soak lint bench bench-network bench-peers perf-analyzer clean
.DEFAULT_GOAL := help

help:
	@echo "make demo           an unmodified OCR application runs on an accelerator"
	@echo "make test           the whole test suite"
	@echo "make test-fast      the tests that take no longer than a few seconds each"
	@echo "make test-long      large networks, a minute each, which make test leaves out"
	@echo "make demo-mms       Multi Model Server classifies a picture on an accelerator (Java)"
	@echo "make soak-mms       the same at full load for SOAK_SECONDS (600); nothing may grow"
	@echo "make conformance    ONNX's own backend tests on an accelerator; writes docs/conformance.md"
	@echo "make serving-tests  TensorFlow Serving's own tests: TENSORFLOW_SERVING=/path/to/its/checkout"
	@echo "make oracle         compare the MXNet translator with MXNet 1.9.1; writes the tests' fixtures"
	@echo "make fuzz           a million hostile requests and model files, guided by what they reach"
	@echo "make faults         kill, stop, cut, slow down and fill a running pool, for some minutes"
	@echo "make soak           load, unload and infer for SOAK_SECONDS (600); nothing may grow"
	@echo "make lint           ruff and mypy"
	@echo "make bench          measure against the floor and write docs/performance.md"
	@echo "make gpu            prove and measure accelerators on a real GPU, where there is one"
	@echo "make bench-network  measure over a link of 1 Gbit/s (root and iproute2)"
	@echo "make bench-peers    measure beside Triton, PyTriton, MLServer, KServe and LitServe"
	@echo "make perf-analyzer  measure with Triton's load generator, beside Triton"
	@echo "make clean          remove the environments and whatever else the others made"

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --without-pip $(VENV) && \
		$(PYTHON) -m pip --quiet --disable-pip-version-check --python $(BIN)/python install pip; }
	@touch $@

# The package itself with what runs accelerators and applications, and the demo's application.
# That application asks for an OpenCV that needs a display's libraries; the extra has another.
$(VENV)/.demo: $(VENV)/.made $(BUILD)
	@echo "Setting up $(VENV) …"
	@$(INSTALL) --editable '.[demo]'
	@$(INSTALL) --no-deps --ignore-requires-python rapidocr-onnxruntime
	@touch $@

# TensorFlow Serving's client asks for the TensorFlow that is not the CPU's alone.
$(VENV)/.dev: $(VENV)/.demo
	@$(INSTALL) --editable '.[dev,bench]'
	@$(INSTALL) --no-deps tensorflow-serving-api
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/python examples/ocr/demo.py

# Multi Model Server has an environment of its own, in which its workers find the package.
MMS := .mms
$(MMS)/.made: $(VENV)/.made $(BUILD)
	@echo "Setting up $(MMS) …"
	@$(BIN)/python -m venv $(MMS) >/dev/null 2>&1 || { \
		$(BIN)/python -m venv --without-pip $(MMS) && \
		$(BIN)/python -m pip --quiet --disable-pip-version-check --python $(MMS)/bin/python install pip; }
	@$(MMS)/bin/python -m pip --quiet --disable-pip-version-check --no-input install \
		--constraint constraints.txt --editable '.[node,onnxruntime]' pillow \
		multi-model-server==1.1.11 model-archiver==1.0.3
	@touch $@

.PHONY: demo-mms soak-mms
demo-mms:
	@if ! java -version >/dev/null 2>&1; then echo "Skipped: Multi Model Server needs Java, and there is none here."; \
	else $(MAKE) --no-print-directory $(MMS)/.made && $(MMS)/bin/python examples/mms/mms_demo.py; fi

# SOAK_SECONDS=1200 make soak-mms
soak-mms:
	@if ! java -version >/dev/null 2>&1; then echo "Skipped: Multi Model Server needs Java, and there is none here."; \
	else $(MAKE) --no-print-directory $(MMS)/.made && $(MMS)/bin/python examples/mms/soak.py; fi

# Tests that make faults or measure run by themselves; the others two at a time.
ALONE := $(addprefix tests/,faults benchmarks)
test: $(VENV)/.dev
	@failed=0; $(BIN)/python -m pytest -q -m "not long" -n 2 --dist loadfile \
		$(ALONE:%=--ignore=%) || failed=1; \
		$(BIN)/python -m pytest -q -m "not long" $(ALONE) || failed=1; exit $$failed

test-long: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -m long

test-fast: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile

# The declared TFLOPS give the accelerator all of the machine's threads.
conformance: $(VENV)/.dev
	@EI_VIRTUAL_TFLOPS=4 $(BIN)/ei run --accelerator eia1.xlarge -- \
		$(BIN)/python -m tests.conformance --page docs/conformance.md

TENSORFLOW_SERVING ?= $(error Say where a copy of tensorflow/serving is: TENSORFLOW_SERVING=/path)
serving-tests: $(VENV)/.dev
	@$(INSTALL) --no-deps tf-keras
	@EI_VIRTUAL_TFLOPS=4 $(BIN)/ei run --accelerator eia1.xlarge -- $(BIN)/python \
		-m tests.serving.upstream $(TENSORFLOW_SERVING) --page docs/tensorflow-serving-tests.md

# MXNet has wheels for Python 3.11 and older ones. GluonCV asks for an OpenCV that needs a display.
ORACLE := .oracle
ORACLE_PYTHON ?= python3.11
$(ORACLE)/.made: constraints-oracle.txt
	@$(ORACLE_PYTHON) -m venv $(ORACLE)
	@$(ORACLE)/bin/python -m pip --quiet --disable-pip-version-check install \
		--constraint constraints-oracle.txt mxnet numpy onnxruntime \
		autocfg matplotlib pandas pillow portalocker scipy tqdm yacs
	@$(ORACLE)/bin/python -m pip --quiet --disable-pip-version-check install --no-deps \
		--constraint constraints-oracle.txt gluoncv
	@touch $@

# ORACLE_ONLY=bert,grids compares these alone.
oracle: $(ORACLE)/.made
	@PYTHONPATH=src:. $(ORACLE)/bin/python -W ignore::UserWarning -m tests.oracle --only "$(ORACLE_ONLY)"

$(VENV)/.fuzz: $(VENV)/.dev
	@$(INSTALL) --editable '.[fuzz]'
	@touch $@

# FUZZ_SEED=7 repeats what a run has said; FUZZ_CASES is how many there are of all together;
# FUZZ_TARGET=connections,frames takes these alone.
fuzz: $(VENV)/.fuzz
	@$(BIN)/python -m tests.fuzz

# FAULTS_SEED=7 make faults  repeats a run in its order; HISTORY_OPERATIONS (500) is how many there
# are while the control plane is killed again and again. Whatever the first one finds, both run.
faults: $(VENV)/.dev
	@failed=0; $(BIN)/python -m tests.faults.chaos || failed=1; \
		$(BIN)/python -m tests.faults.history || failed=1; exit $$failed

soak: $(VENV)/.dev
	@$(BIN)/python -m tests.faults.soak

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

bench: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.bench

bench-network: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.network

# Each peer has an environment of its own below .peers, about 1.4 GB together, made once.
bench-peers: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.peers.bench

perf-analyzer: $(VENV)/.dev
	@$(BIN)/python -m benchmarks.peers.perf_analyzer

# Where packages come from somewhere else than an index: GPU_PYTHON=/path/to/python make gpu
GPU_PYTHON ?= .venv-gpu/bin/python
gpu:
	@if ! nvidia-smi >/dev/null 2>&1; then echo "Skipped: nvidia-smi finds no GPU here."; \
	else $(MAKE) --no-print-directory $(if $(findstring .venv-gpu/,$(GPU_PYTHON)),.venv-gpu/.made) \
		gpu-bench; fi

.PHONY: gpu gpu-bench
gpu-bench:
	@PYTHONPATH=src:. $(GPU_PYTHON) -m benchmarks.gpu.bench

.venv-gpu/.made: $(BUILD)
	@$(PYTHON) -m venv .venv-gpu
	@.venv-gpu/bin/python -m pip --quiet install --constraint constraints.txt \
		--editable '.[gpu]' onnx psutil
	@touch $@

clean:
	@rm -rf $(VENV) .venv-gpu .peers .oracle $(MMS) build dist .mypy_cache .ruff_cache .pytest_cache
