# Needs git, make and Python 3.11 or newer. Everything else is installed into .venv, at the versions and hashes of the lock.

# Which Python makes .venv: the newest we test with first, then whatever else is new enough. Override: make PYTHON=/path/to/python
PYTHON ?=
PYTHONS = python3.13 python3.12 python3.11 python3.14 python3.15 python3 python
# Tests at once: most of them wait for somebody most of the time, so six times the cores of a small machine; 2 GB in all.
JOBS ?= 12
# Real control planes at once, one for each test process: 700 MB each.
PLANES ?= 3
# More arguments for pytest: make test ARGS="-k s01"
ARGS ?=

VENV = .venv
READY = $(VENV)/.ready
KEPT = $(VENV)/.rewritten
BIN = $(VENV)/bin

# What pytest makes of the tests' asserts is kept, and made by one process: it takes each test process a dozen seconds.
unexport PYTHONDONTWRITEBYTECODE
$(KEPT): $(READY)
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null 2>&1; touch $@

.PHONY: help demo test test-crashes test-monitoring test-cluster cluster lint monitoring bench lock clean bench-cluster

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile

demo: $(READY) ## the agent heals the embedded world before your eyes
	@$(BIN)/secret-drift-agent demo

test: $(KEPT) ## every test that needs nothing but Python
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q --ignore=tests/monitoring $(ARGS)

test-monitoring: $(READY) ## alerts, pages, dashboards on a real Prometheus, Alertmanager and Pushgateway; needs Debian's packages
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q tests/monitoring $(ARGS)

test-crashes: $(READY) ## S29 at length: the agent is killed around each single call of each kind of heal
	@$(BIN)/python -m pytest -n $(JOBS) -q tests/scenarios/test_s29_crashes.py --every-call $(ARGS)

# What the manifests are worth is judged by a real API server.
INSTALLED = $(addprefix tests/k8s/,test_admission.py test_observe.py test_install.py test_upkeep.py test_examples.py)

test-cluster: $(READY) ## contracts and scenarios on a real etcd, API server and controllers; needs Go
	@PYTHONPATH=tests $(BIN)/python -m support.controlplane build
	@$(BIN)/python -m pytest --real -n $(PLANES) --dist worksteal -q -rfE tests/contract/server $(INSTALLED) tests/visits tests/scenarios $(ARGS)

cluster: $(READY) ## starts a real control plane on this machine until Ctrl-C; needs Go
	@PYTHONPATH=tests $(BIN)/python -m support.controlplane run

lint: $(READY) ## lint, format, types, direction of imports, freshness of the locks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports
	@! command -v gofmt >/dev/null || { diff=$$(gofmt -d tests/cluster) && test -z "$$diff" || { echo "$$diff"; exit 1; }; }
	$(BIN)/python .ci/locks.py check
	$(BIN)/hadolint Dockerfile

monitoring: $(READY) ## writes alert rules (k8s/monitoring/alerts.py), dashboards (grafana/) and the chart's schema (k8s/schema) anew
	@$(BIN)/python -m k8s.monitoring.build $(ARGS)
	@$(BIN)/python -m grafana.build $(ARGS)
	@$(BIN)/python -m k8s.schema.build $(filter --check,$(ARGS))

bench: $(READY) ## measures speed and size with 10,000 chains; writes build/bench.json
	@$(BIN)/python -m tests.bench $(ARGS)

bench-cluster: $(READY) ## the same on a real API server with 2,000 chains and 10,000 pods; needs Go
	@PYTHONPATH=tests $(BIN)/python -m support.controlplane build
	@PYTHONPATH=tests $(BIN)/python -m benchcluster $(ARGS)

# Versions that still fit are kept; make lock ARGS=--upgrade takes the newest.
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(ARGS)

lock: $(READY) ## resolves the locked versions anew (needs uv and the network)
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH; see https://docs.astral.sh/uv" >&2; exit 1; }
	$(COMPILE) pyproject.toml -o requirements.lock >/dev/null
	$(COMPILE) pyproject.toml --all-extras --group dev -o requirements-dev.lock >/dev/null
	$(COMPILE) --no-deps --group pyproject.toml:tools -o requirements-tools.lock >/dev/null
	@$(BIN)/python .ci/locks.py stamp

clean: ## removes all that was made here
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find agent grafana tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements-dev.lock requirements-tools.lock pyproject.toml
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    rm -rf $(VENV); \
	    for python in $(or $(PYTHON),$(PYTHONS)); do \
	        if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "No Python 3.11 or newer with venv and pip was found (looked for: $(or $(PYTHON),$(PYTHONS)))." >&2; \
	        echo "Install one (on Debian and Ubuntu also python3-venv), or name it: make PYTHON=/path/to/python" >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$found"; \
	    $$found -m venv $(VENV); \
	fi
	@echo "Installing the locked dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-tools.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)
