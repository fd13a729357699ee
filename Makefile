# The commands of this repository. `make test` is the one to run before a change is sent; `make help` lists the others.
# A fresh machine needs Rust (rustup reads rust-toolchain.toml), a C compiler (fuzzing: also C++, or it is skipped), curl and Python
# 3.11 or newer; with node and npm `make test` evaluates the roles' policies, too; `make test-sam` also needs a Docker engine, and
# `make test-arm64` qemu. Everything else is installed into .venv/ from requirements with hashes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
# Where cargo puts what it builds; the Python tests run the function binaries from there.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
export GRANTWELL_BIN_DIR := $(TARGET)/debug

VENV := .venv/test
VENV_SAM := .venv/sam
# An implementation of IAM's evaluation in JavaScript. Without node and npm its tests are skipped, except in CI.
IAM := .venv/iam
# OAuth clients in JavaScript that nobody here wrote; the same holds for them.
NODE_CLIENTS := .venv/node-clients
# What the JavaScript of examples/snippets imports.
NODE_SNIPPETS := .venv/node-snippets
SAM_BUILD := .sam-test/build
SAM_BUILD_ARM64 := .sam-test/arm64
# A command that makes a machine ready for `sam local` before test-sam looks at it; none by default.
SAM_PREPARE ?=

export SAM_CLI_TELEMETRY := 0
export PYTHONDONTWRITEBYTECODE := 1

##@ Tests

.PHONY: test
test: $(VENV)/.ready ## Everything but containers: what a change must pass
	@$(MAKE) --no-print-directory fmt
	@$(MAKE) --no-print-directory core-only
	@$(MAKE) --no-print-directory clippy-embedded
	@$(MAKE) --no-print-directory clippy
	@$(MAKE) --no-print-directory lint-template
	@$(MAKE) --no-print-directory test-rust
	@$(MAKE) --no-print-directory test-aws
	@$(MAKE) --no-print-directory fuzz-briefly

.PHONY: fmt
fmt: ## Formatting
	cargo fmt --check

.PHONY: core-only
core-only: ## The protocol alone compiles: no HTTP, no AWS, no database
	cargo check --lib --no-default-features --locked

.PHONY: clippy-embedded
clippy-embedded: ## Lints of the local command, built without the AWS SDK
	cargo clippy --all-targets --no-default-features --features embedded --locked -- -D warnings

.PHONY: clippy
clippy: ## Lints of everything
	cargo clippy --all-targets --all-features --locked -- -D warnings

.PHONY: lint-template
lint-template: $(VENV)/.ready ## cfn-lint on each template
	$(VENV)/bin/cfn-lint template.yaml observability.yaml authorizer.yaml examples/protected-api/template.yaml examples/two-services/template.yaml examples/retained-tables/template.yaml

.PHONY: test-rust
test-rust: $(VENV)/.ready ## Unit and integration tests, the port suites on the AWS emulators included
	$(VENV)/bin/python tests/aws/emulator.py run -- cargo test --all-features --locked -- --include-ignored
	$(VENV)/bin/python tests/aws/emulator.py run --ministack -- \
	  cargo test --all-features --locked --test it -- --include-ignored conformance::aws::rotation conformance::aws::ownership

.PHONY: build
build: ## The command and the function binaries, unoptimized
	cargo build --bins --all-features --locked

.PHONY: test-aws
test-aws: $(VENV)/.ready build ## The template, the functions behind a Lambda Runtime API, the deployed stack, a real OAuth client
	@$(MAKE) --no-print-directory $(IAM)/.ready || echo 'test-aws: the policies are not evaluated (tests/aws/test_iam.py)' >&2
	@$(MAKE) --no-print-directory $(NODE_CLIENTS)/.ready || echo 'test-aws: the clients of npm do not run (tests/aws/test_key_clients.py)' >&2
	@$(MAKE) --no-print-directory $(NODE_SNIPPETS)/.ready || echo 'test-aws: the snippets in JavaScript do not run (tests/aws/test_snippets.py)' >&2
	$(VENV)/bin/python -m pytest tests/aws --ignore=tests/aws/sam --ignore=tests/aws/arm64

##@ Tests of the tests

MUTANTS := .venv/mutants
MUTANTS_VERSION := 27.1.0
# Which part of the mutants: of sixteen parts the first is 0/16 and the last 15/16.
SHARD ?= 0/16
# What is mutated.
MUTATED ?= --file 'src/core/**/*.rs' --file 'src/cache/**/*.rs'

# Not in CI. It installs cargo-mutants (a few minutes, once) and builds in its own copy of the sources, which takes 2 GB and a clean
# build. Then each mutant costs an incremental build and the tests until one fails: a shard of sixteen takes tens of minutes on two cores.
# It runs the unit tests and the suite `it`, without what needs AWS. Survivors are listed in target/mutants/mutants.out/missed.txt.
.PHONY: mutants
mutants: $(MUTANTS)/bin/cargo-mutants ## Changes core and the caches in small ways and lists what no test noticed: SHARD=1/16
	mkdir -p $(TARGET)/mutants
	PATH="$(abspath $(MUTANTS))/bin:$$PATH" cargo mutants $(MUTATED) --shard $(SHARD) --output $(TARGET)/mutants \
	  --no-default-features --features embedded --jobs 1 --timeout 300 --no-shuffle --cargo-arg=--locked -- --lib --test it

$(MUTANTS)/bin/cargo-mutants:
	cargo install --quiet --root $(MUTANTS) --version $(MUTANTS_VERSION) --locked cargo-mutants

##@ Fuzzing

# Seconds for each target.
FUZZ_SECONDS ?= 600

.PHONY: fuzz
fuzz: ## Each fuzz target for FUZZ_SECONDS (600): decoders, JWTs, endpoints, stored records, Lambda events
	fuzz/run $(FUZZ_SECONDS)

.PHONY: fuzz-briefly
fuzz-briefly: ## Each fuzz target for 10 seconds
	fuzz/run 10

##@ What sam build makes

.PHONY: test-arm64
test-arm64: $(VENV)/.ready $(VENV_SAM)/.ready ## sam build for arm64, the default, and every file of events/ through its functions under qemu
	@because=$$(tests/aws/arm64/prepare) || { echo "make test-arm64: $$because" >&2; exit 1; }
	cargo build --bin grantwell --all-features --locked
	for name in template authorizer; do \
	  PATH="$(abspath $(VENV_SAM))/bin:$$PATH" sam build --template "$$name.yaml" --build-dir "$(SAM_BUILD_ARM64)/$$name"; \
	done
	GRANTWELL_SAM_BUILD=$(abspath $(SAM_BUILD_ARM64)) $(VENV)/bin/python -m pytest tests/aws/arm64

##@ With a Docker engine

# These functions are for containers on this machine, and test-arm64 runs those that are deployed: nothing here depends on how well a
# function is optimized, which takes most of the time. `make test-sam SAM_LIGHTLY=` builds them as they are deployed.
SAM_LIGHTLY ?= CARGO_LAMBDA_GLOBAL=$(abspath tests/aws/sam/cargo-lambda.toml) CARGO_PROFILE_RELEASE_OPT_LEVEL=1

.PHONY: test-sam
test-sam: $(VENV)/.ready $(VENV_SAM)/.ready ## sam validate, sam build, sam local invoke for every file of events/, sam local start-api
	$(if $(SAM_PREPARE),$(SAM_PREPARE))
	@docker info >/dev/null 2>&1 || { \
	  echo 'make test-sam: no Docker engine answers. Install and start one (docker info must work), then run this again.' >&2; \
	  exit 1; }
	@[ "$$(uname -m)" = x86_64 ] || { \
	  echo 'make test-sam: builds for x86_64, and this machine is not one.' >&2; exit 1; }
	cargo build --bin grantwell --all-features --locked
	PATH="$(abspath $(VENV_SAM))/bin:$$PATH" AWS_DEFAULT_REGION=us-east-1 sam validate --lint
	for name in template authorizer; do \
	  PATH="$(abspath $(VENV_SAM))/bin:$$PATH" $(SAM_LIGHTLY) sam build --template "$$name.yaml" \
	    --parameter-overrides Architecture=x86_64 --build-dir "$(SAM_BUILD)/$$name"; \
	done
	SAM=$(abspath $(VENV_SAM))/bin/sam GRANTWELL_SAM_BUILD=$(abspath $(SAM_BUILD)) \
	  $(VENV)/bin/python -m pytest tests/aws/sam

.PHONY: emulator
emulator: $(VENV)/.ready build ## A seeded AWS emulator for `sam local invoke` by hand; prints the variables to paste
	$(VENV)/bin/python tests/aws/emulator.py serve --for-containers --seed $(GRANTWELL_BIN_DIR)/grantwell

##@ Benchmarks

.PHONY: bench
bench: ## Issuing, introspecting and verifying a token, in process
	cargo bench --no-default-features --features embedded --locked

.PHONY: bench-lambda
bench-lambda: $(VENV)/.ready ## Each function binary, optimized, beside a function that does nothing: start, CPU, memory
	cargo build --release --all-features --bins --locked
	GRANTWELL_BIN_DIR=$(TARGET)/release GRANTWELL_BENCH_BIN_DIR=$(TARGET)/release $(VENV)/bin/python benches/lambda.py

# How the peers are installed is in benches/peers/. What is not installed is named and left out.
PEERS := .bench-peers

.PHONY: bench-peers
bench-peers: ## The local server beside the floor under it, node oidc-provider and Authlib, if installed: rate, p99, CPU, memory
	cargo build --profile dist --no-default-features --features embedded --bin grantwell --locked
	cargo build --profile dist --no-default-features --features embedded --example floor --example peers --locked
	@$(MAKE) --no-print-directory --keep-going $(PEERS)/node/.ready $(PEERS)/python/.ready || true
	GRANTWELL_BENCH_BIN_DIR=$(TARGET)/dist $(TARGET)/dist/examples/peers

.PHONY: bench-growth
bench-growth: ## The store of the local server with a thousand to a million tokens; ten with GRANTWELL_BENCH_TOKENS=10000000 (4 GB)
	cargo build --release --no-default-features --features embedded --example growth --locked
	$(TARGET)/release/examples/growth

$(PEERS)/node/.ready: benches/peers/package.json benches/peers/package-lock.json benches/peers/oidc-provider.js
	@command -v node >/dev/null && command -v npm >/dev/null || { echo 'bench-peers: no node and npm' >&2; exit 1; }
	mkdir -p $(PEERS)/node
	cp $^ $(PEERS)/node/
	cd $(PEERS)/node && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(PEERS)/python/.ready: benches/peers/requirements.txt
	$(call make_venv,$(PEERS)/python,$<)

##@ Other

# A virtual environment is made again only when its requirements change. The stamp is written last. The requirements name every package
# with its hashes, so pip looks for none (--no-deps): older pips take a package with extras for one without a hash.
$(VENV)/.ready: tests/aws/requirements.txt
	$(call make_venv,$(VENV),$<)

$(VENV_SAM)/.ready: tests/aws/requirements-sam.txt
	$(call make_venv,$(VENV_SAM),$<)

$(IAM)/.ready: tests/aws/iam/package.json tests/aws/iam/package-lock.json tests/aws/iam/simulate.mjs
	$(call npm_ci,$(IAM),$^)

$(NODE_CLIENTS)/.ready: tests/aws/node_clients/package.json tests/aws/node_clients/package-lock.json tests/aws/node_clients/walk.mjs
	$(call npm_ci,$(NODE_CLIENTS),$^)

$(NODE_SNIPPETS)/.ready: tests/aws/node_snippets/package.json tests/aws/node_snippets/package-lock.json
	$(call npm_ci,$(NODE_SNIPPETS),$^)

define npm_ci
@command -v node >/dev/null && command -v npm >/dev/null || { echo 'test-aws: no node and npm' >&2; exit 1; }
mkdir -p $(1)
cp $(2) $(1)/
cd $(1) && npm ci --ignore-scripts --no-audit --no-fund
touch $@
endef

define make_venv
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
  echo 'Python 3.11 or newer is needed; name it with PYTHON=... if python3 is older.' >&2; exit 1; }
$(PYTHON) -m venv --clear $(1) || { \
  echo 'Python cannot make a virtual environment; on Debian and Ubuntu install python3-venv.' >&2; exit 1; }
$(1)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement $(2)
touch $@
endef

REQUIREMENTS := tests/aws/requirements tests/aws/requirements-sam benches/peers/requirements
# `make lock-requirements UPGRADE=--upgrade` takes the newest versions; without it those in use stay.
UPGRADE ?=

.PHONY: lock-requirements
lock-requirements: ## requirements*.txt from requirements*.in: each package of each platform by its version and hash
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	for file in $(REQUIREMENTS); do \
	  .venv/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --strip-extras $(UPGRADE) \
	    --custom-compile-command 'make lock-requirements' --output-file "$$file.txt" "$$file.in"; \
	done

.PHONY: clean
clean: ## Removes what the targets above have made, cargo's target directory aside
	rm -rf .venv .sam-test .aws-sam $(PEERS)

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
