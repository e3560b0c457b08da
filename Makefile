# Rollmill. `make help` lists the targets.
#
# The demo and the tests use the same profile and the same features, so that the tests reuse what the demo built.
# A plain `cargo build` has no failpoints: what is released cannot be told to crash.

SHELL := /bin/sh
FEATURES := rollmill-service/failpoints
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
COMMA := ,
ROLLMILL_CACHE ?= $(HOME)/.cache/rollmill
export ROLLMILL_CACHE

# Options of the demo, for example: make demo ARGS="--epochs 2 --agents 4". See `make demo ARGS=--help`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup build package bench demo test mutants mutants-contracts chaos model plans replay schedules soak upgrade rules live operate page wallet gpu-rehearsal aztec lint deny gen gen-all book

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## Install what is missing: Debian packages and npm tools (said first; safe to run again)
	@xtask/setup.sh

build: setup ## Build every program
	cargo build --locked --workspace --bins --features $(FEATURES)

package: setup ## Build the programs in release mode and pack them for operators; prints the path
	cargo run --locked --quiet --package rollmill-xtask -- package

# The peers of the bench have assembler for processors with BMI2 and ADX.
BENCH_FLAGS := $(if $(shell grep -m 1 -w bmi2 /proc/cpuinfo 2>/dev/null | grep -w adx),-C target-feature=+bmi2$(COMMA)+adx)

bench: ## Build rollmill-bench in release mode, with its peers as fast as this processor allows
	RUSTFLAGS="$(BENCH_FLAGS)" cargo build --locked --release -p rollmill-bench --features peers --target-dir $(TARGET)/bench
	@echo "$(TARGET)/bench/release/rollmill-bench"

demo: build ## Prove epochs on a local L1 with the whole network on this machine; options in ARGS="…"
	@$(TARGET)/debug/rollmill-devnet $(ARGS)

test: build ## Run every check and every test; ends with 'N passed, N failed'
	@$(TARGET)/debug/rollmill-xtask test

gpu-rehearsal: ## Run the bundle for a machine with a GPU on an emulated driver, also with a step that hangs, one that fails and a kill
	@benches/gpu-rehearsal.sh

mutants: build mutants-contracts ## Take out every check of the registry, one at a time, and require a test to notice; writes docs/book/mutants.md
	@$(TARGET)/debug/rollmill-xtask mutants --set all --write

mutants-contracts: setup ## The same of every check and step of the contracts; writes docs/book/contract-mutants.md
	@node contracts/mutants.js --write

chaos: build ## Ten minutes of faults of every kind, then a kill of the submitter at each step and SIGTERM to each process; ARGS="--seed N"
	@$(TARGET)/debug/rollmill-devnet --blocks 1 --txs 1 --prover-nodes 2 --chaos 10 $(ARGS)
	@$(TARGET)/debug/rollmill-devnet --blocks 1 --txs 1 --failover
	@$(TARGET)/debug/rollmill-devnet --blocks 1 --txs 1 --terminate

# Leases of all jobs together that may end without a result; each one more takes many times as long.
LEASES ?= 3

model: ## Explore the model of the queue further than the tests do; LEASES=3; some minutes; prints states and depth
	cargo run --locked --release -p rollmill-broker-model --example explore -- $(LEASES)

ROWS ?= 1000000

plans: setup ## Check the plan of each of the broker's statements on tables of ROWS=1000000 rows; some minutes
	ROLLMILL_PLAN_ROWS=$(ROWS) cargo test --locked -p rollmill-broker --features $(FEATURES) --lib \
		every_statement_uses_its_index -- --nocapture

BLOCKS ?= 10000
SEED ?= 1

replay: ## Compare BLOCKS=10000 random blocks of SEED=1 between the model in Python and the crates; about 10 min to an hour
	@bash -c 'set -o pipefail; python3 protocol/tests/vectors/model2.py --random $(SEED) $(BLOCKS) \
		| cargo run --locked -p rollmill-protocol-testing --example replay'

SCHEDULES ?= 1000

schedules: setup ## Run random schedules of faults on brokers and PostgreSQL; SCHEDULES=1000; each prints its seed
	ROLLMILL_SCHEDULES=$(SCHEDULES) cargo test --locked -p rollmill-broker --features $(FEATURES) --test all \
		rules::random_fault_schedules -- --nocapture

MINUTES ?= 60

soak: build ## Run epochs that are closed and deleted, and fail if memory, disk or database grow; MINUTES=60; writes target/soak.md
	@$(TARGET)/debug/rollmill-broker bench --soak-minutes $(MINUTES) --jobs 2000 --agents 50 --artifact-bytes 2048 > $(TARGET)/soak.md; \
	status=$$?; cat $(TARGET)/soak.md; exit $$status

upgrade: build ## Run two deployments on one broker, and let a vote move the network from one to the other
	@$(TARGET)/debug/rollmill-devnet upgrade $(ARGS)

rules: setup ## Check the configuration of Prometheus and test the alert rules
	@deploy/rules.sh

live: build ## Scrape a running network, execute every query of the dashboards, and let alerts fire; 12 to 25 min
	@cargo build --locked --quiet -p rollmill-agent-testing --example card
	@python3 deploy/live.py --faults --devnet $(TARGET)/debug/rollmill-devnet --card $(TARGET)/debug/examples/card

operate: build ## Execute the commands of docs/operate.md on three folders of this machine; some minutes
	@python3 deploy/operate.py --programs $(TARGET)/debug $(ARGS)

page: build ## Open the broker's web page in headless Chromium (Debian's chromium) and take screenshots; writes target/page
	@python3 deploy/page.py --broker $(TARGET)/debug/rollmill-broker --out $(TARGET)/page $(ARGS)

wallet: build ## Pay with the JavaScript client of the wallet service on a network of this machine, with a repeated request, and execute docs/pxe.md (ARGS=--out DIR: in a browser too); some minutes
	@python3 deploy/wallet.py --programs $(TARGET)/debug $(ARGS)

aztec: build ## Run Aztec's own facades and agents, versions 4 and 5, against the broker (4 minutes); installs 700 MB of npm packages first
	cd broker/aztec-test/v4 && npm ci --ignore-scripts --omit=optional --no-audit --no-fund
	cd broker/aztec-test/v5 && npm ci --ignore-scripts --omit=optional --no-audit --no-fund
	node broker/aztec-test/test.mjs "$(abspath $(TARGET))/debug/rollmill-broker"

lint: setup ## Run clippy on everything, warnings refused
	cargo clippy --locked --workspace --all-targets --features $(FEATURES) -- -D warnings

deny: ## Hold licences, sources and banned crates to deny.toml (cargo install cargo-deny --locked)
	cargo deny check bans licenses sources

gen: build ## Write the generated pages, Solidity constants and verifiers, and test vectors again
	@$(TARGET)/debug/rollmill-xtask gen

gen-all: build ## Write every generated file that needs no download, proof or hour; then name the others
	@$(TARGET)/debug/rollmill-xtask gen --all

book: ## Build the documentation as a book in target/book (cargo install mdbook --locked)
	@command -v mdbook >/dev/null || { echo 'book: no mdbook; run: cargo install mdbook --locked' >&2; exit 1; }
	mdbook build docs
