# `make help` is the manual.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
CLUSTER := $(PYTHON) tests/cluster/cluster.py
PACKAGE := $(shell find operator/funclet runtime-image/funclet_agent -name '*.py')

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}'

build/tools/bin/uv:
	@echo "Installing uv into build/tools"
	@$(PYTHON) -m venv build/tools
	@build/tools/bin/pip install --quiet --disable-pip-version-check uv

.venv/installed: requirements-dev.lock pyproject.toml build/tools/bin/uv
	@echo "Installing Funclet and its tools into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@build/tools/bin/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements-dev.lock
	@build/tools/bin/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: setup
setup: .venv/installed ## Install Funclet and its tools into .venv

.PHONY: demo
demo: setup ## Start the hello example without a cluster and watch it scale from zero and back
	@$(BIN)/python scripts/demo.py

.PHONY: check
check: setup ## The fast gate: format, lint, types, import contracts, unit tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit tests/cluster

.PHONY: verify
verify: setup ## Generate again what is generated, and fail if it differs from what is committed
	scripts/generate
	git diff --exit-code -- crds helm/funclet

.PHONY: format
format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: runtimes
runtimes: ## Build AWS's runtime clients for Node.js and Java into build/runtimes, for local mode
	@scripts/runtimes

.PHONY: test-local
test-local: setup runtimes ## Adapters against real servers, the runtime, and the end-to-end tests in local mode
	$(BIN)/pytest tests/adapters tests/runtime
	FUNCLET_E2E=local $(BIN)/pytest tests/e2e

COMPILED_TESTS = $(patsubst %,tests/adapters/test_%.py,gateway gateway_client gateway_hostile gateway_http \
	gateway_instances gateway_metrics gateway_slow gateway_streaming usage) \
	$(patsubst %,tests/unit/test_%.py,billing function_pool gateway_answers gateway_plain)

.PHONY: test-compiled
test-compiled: build/bench-venv/installed ## The tests of the gateway's warm path again, with its modules compiled
	build/bench-venv/bin/python -m pytest --override-ini "pythonpath=runtime-image ." $(COMPILED_TESTS)

.PHONY: test-cluster
test-cluster: setup cluster-install ## The tests that need Kubernetes: CRDs, chart, end to end
	export KUBECONFIG=$(CURDIR)/build/kubeconfig; \
	$(BIN)/pytest tests/crd tests/chart; \
	FUNCLET_E2E=cluster $(BIN)/pytest tests/e2e

.PHONY: test
test: ## Everything: check, verify, local tests, and the tests on a real Kubernetes
	$(MAKE) check
	$(MAKE) verify
	$(MAKE) test-local
	$(MAKE) test-compiled
	$(MAKE) test-cluster || { $(MAKE) cluster-down; exit 1; }
	$(MAKE) cluster-down

# A distribution's own Python is built with profile-guided optimisation, like the images'; pyenv's is not, and takes 10 to
# 15 % longer for everything.
BENCH_PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo /usr/bin/python3 || echo $(PYTHON))

# Both environments are made anew for another interpreter: figures of one that is kept from before are not comparable.
build/bench-python: always
	@mkdir -p build; echo "$(BENCH_PYTHON)" | cmp --silent - $@ || echo "$(BENCH_PYTHON)" > $@

.PHONY: always
always:

# Funclet as the image has it: installed, and the gateway's warm path compiled (docs/design/0007).
build/bench-venv/installed: build/bench-python requirements-dev.lock pyproject.toml build/tools/bin/uv scripts/compile $(PACKAGE)
	@echo "Installing Funclet and its tools into build/bench-venv, with $(BENCH_PYTHON)"
	@build/tools/bin/uv venv --quiet --clear --python $(BENCH_PYTHON) build/bench-venv
	@build/tools/bin/uv pip sync --quiet --python build/bench-venv/bin/python --require-hashes requirements-dev.lock
	@build/tools/bin/uv pip install --quiet --python build/bench-venv/bin/python --no-deps --refresh-package funclet .
	@build/bench-venv/bin/python scripts/compile --try $$(build/bench-venv/bin/python -c \
		'import sysconfig; print(sysconfig.get_path("platlib"))')
	@touch $@

build/bench-peers/installed: build/bench-python requirements-bench.lock build/tools/bin/uv
	@echo "Installing the peers of the benchmarks into build/bench-peers"
	@build/tools/bin/uv venv --quiet --clear --python $(BENCH_PYTHON) build/bench-peers
	@build/tools/bin/uv pip sync --quiet --python build/bench-peers/bin/python --require-hashes requirements-bench.lock
	@touch $@

.PHONY: bench
bench: setup build/bench-venv/installed build/bench-peers/installed ## Measure every figure beside its budget and its peers; ONLY=name for some of them
	@build/bench-venv/bin/python -m benchmarks $(ONLY) $(if $(UNDER),--under "$(UNDER)")

.PHONY: performance
performance: ## Measure everything and write docs/performance.md with its table and plots
	-@$(MAKE) bench
	@build/bench-peers/bin/python scripts/performance

.PHONY: plots
plots: setup build/bench-peers/installed ## Draw the plots of docs/scaling.md again
	@build/bench-peers/bin/python scripts/plot_scaling.py $(BIN)/funclet docs/img

.PHONY: cluster-up
cluster-up: ## Start a real one-node Kubernetes on this machine and write build/kubeconfig
	@$(CLUSTER) up

.PHONY: cluster-install
cluster-install: setup cluster-up ## Build the images, bring them into the cluster, install the chart
	@scripts/cluster-install

.PHONY: cluster-down
cluster-down: ## End the cluster and leave nothing behind
	@$(CLUSTER) down

.PHONY: doctor
doctor: ## Say what this machine lacks for running the cluster
	@$(CLUSTER) doctor

.PHONY: lock
lock: build/tools/bin/uv ## Choose the newest allowed versions of all dependencies
	build/tools/bin/uv pip compile -q --upgrade --generate-hashes --universal --python-version 3.11 --no-annotate --no-header \
		pyproject.toml -o requirements.lock
	build/tools/bin/uv pip compile -q --upgrade --generate-hashes --universal --python-version 3.11 --no-annotate --no-header \
		--extra dev pyproject.toml -o requirements-dev.lock
	build/tools/bin/uv pip compile -q --upgrade --generate-hashes --universal --python-version 3.11 --no-annotate --no-header \
		--group bench -o requirements-bench.lock
	build/tools/bin/uv pip compile -q --upgrade --generate-hashes --universal --python-version 3.11 --no-annotate --no-header \
		--group compile --constraints requirements-dev.lock -o requirements-compile.lock

.PHONY: clean
clean: ## Remove what was built in this checkout
	rm -rf build dist .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
