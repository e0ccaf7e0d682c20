# The commands of the project. `make help` lists them.
.PHONY: help run test check bench build venv prometheus client

PYTHON ?= python3
VENV := target/venv
PROMETHEUS := target/prometheus
BIN := target/debug/tollgate
CLIENT ?= target/client

help:
	@echo "make run     builds, starts the simulated provider and a node, prints a first call (PORT= moves it, PROVIDER=openai uses the real one)"
	@echo "make check   format, lint, unit tests, tidy, quick start"
	@echo "make test    everything: check's tests, and the real SDKs against the running binary; installs what it needs"
	@echo "make client  a Python client of the administration API, in target/client (CLIENT= puts it elsewhere)"
	@echo "make bench   CPU, latency and memory a call, against a bare proxy in the same run (BENCH_ARGS=--quick for a short one)"

build:
	cargo build --bin tollgate

run: build
	$(PYTHON) deploy/quickstart.py

check: build
	cargo fmt --all --check
	RUSTC_WORKSPACE_WRAPPER=$$(command -v clippy-driver) cargo check --workspace --all-targets
	cargo test --workspace
	$(PYTHON) deploy/quickstart.py --once

venv: $(VENV)/done

$(VENV)/done: tests/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

# promtool and prometheus from Debian's archive, unpacked and not installed: root is not needed. Without them the tests that want them
# skip, and say so; `rm -r target/prometheus` tries again.
prometheus: $(PROMETHEUS)/done

$(PROMETHEUS)/done:
	@mkdir -p $(PROMETHEUS)
	@command -v promtool >/dev/null && command -v prometheus >/dev/null || \
		{ cd $(PROMETHEUS) && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } && dpkg -x prometheus_*.deb . && rm -f prometheus_*.deb; } \
		>$(PROMETHEUS)/log 2>&1 || echo "promtool could not be had ($(PROMETHEUS)/log says why): its tests skip"
	@touch $@

test: build venv prometheus
	cargo test --workspace
	$(PYTHON) deploy/quickstart.py --once
	$(VENV)/bin/python -m pytest -q tests/sdk

client: build venv
	mkdir -p $(dir $(CLIENT))
	$(BIN) openapi >$(CLIENT).json
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" openapi-python-client generate --path $(CLIENT).json --output-path $(CLIENT) --meta setup --overwrite --config deploy/client.yaml

bench:
	$(PYTHON) tests/bench/run.py $(BENCH_ARGS)
