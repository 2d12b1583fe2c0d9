# Every target works in a fresh checkout, as root and as an ordinary user: `setup` installs what is missing.
# `.venv` is built by pypm itself from pypm.lock; `.ci/setup` tells how the first pypm comes to be.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup test quick lint demo canary bench escape plugins faults clean

PYTHON ?= python3
BIN := .venv/bin

help: ## What can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

setup: ## Build .venv from pypm.lock with pypm itself (quick the second time)
	@PYTHON="$(PYTHON)" .ci/setup

test: setup lint ## Lint, then the whole test suite (no network but the set-up's)
	$(BIN)/python -m pytest -n 2 --dist worksteal

quick: setup ## The test suite without lint, stopping at the first failure
	$(BIN)/python -m pytest -n 2 -x

lint: setup ## mypy strict, ruff, formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: setup ## Lock, sync and run a small real project; show what is allowed and what is denied
	@$(BIN)/python -m integration.demo

canary: setup ## integration/my-lib: install, run, test, type-check, uninstall, and install again
	@$(BIN)/python -m integration.canary

bench: setup ## Ratios beside uv and bubblewrap, measured in turn (`python -m integration.bench --heavy` has torch, too)
	@$(BIN)/python -m integration.bench

escape: setup ## Programs that try to get out of the sandbox, by every way, beside bubblewrap with its usual flags
	@$(BIN)/python -m integration.escape --peer bwrap

plugins: ## Build the plugins in C that come with pypm, warnings as errors (SANITIZE=1: with sanitizers)
	@$(MAKE) -C pypm/plugins/native

faults: setup ## Kills and errors at each kind of system call, full disks, crowds, cut downloads: one table, beside uv and pip
	@$(BIN)/python -m integration.faults

clean: ## Remove what make made (not the cache)
	rm -rf .venv .bootstrap .mypy_cache .ruff_cache .pytest_cache .hypothesis
