# `make` lists what can be done. Needs git, make and a python3 from 3.11 on; everything else goes into .venv.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
PY := .venv/bin/python
UNIT := $(addprefix tests/bridge/,chat wire prompt reply schema routing/test_routes.py turn/test_plan.py turn/test_history.py) \
  tests/bridge/pool/test_policy.py $(addprefix tests/bridge/pool/instances/test_,breaker.py restart_policy.py state_machine.py) \
  tests/sessions_store/test_fingerprint.py tests/sessions_store/test_normalize.py tests/house

.PHONY: help run test test-unit test-postgresql test-browser test-trials test-clients lint bench trials format options messages lock clean login-browser

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/.run ## set up what is missing and run the gateway until Ctrl-C
	@exec $(PY) -m gateway_project.supervise

test: .venv/.test ## run all tests but those of browsers, trials and clients
	@$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(addprefix --ignore tests/,browser trials clients) $(ARGS)

test-unit: .venv/.test ## run the tests that start no process, in seconds
	@$(PY) -m pytest -n 2 $(UNIT) $(ARGS)

test-postgresql: .venv/.test ## run the tests that ask the database again, on a PostgreSQL of their own
	@$(PY) -m tests.on_postgresql -n 4 --dist loadfile --no-loadscope-reorder \
	  $(addprefix tests/,accounts sessions_store bridge/admin bridge/fleet) $(ARGS)

test-browser: .venv/.test ## drive pages, console and playground with Chromium
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder tests/browser $(ARGS)

test-trials: .venv/.test ## attack, hang, kill and cut gateways, briefly, and run them in several places
	@$(PY) -m pytest -n 4 --dist loadfile tests/trials $(ARGS)

test-clients: .venv/.test ## install coding agents and SDKs, and drive them
	@$(PY) -m tests.clients.install $(PATIENCE)
	@$(PY) -m pytest -n 3 --dist loadfile tests/clients $(ARGS)

lint: .venv/.test ## check format, lint, types, import directions and migrations
	@.venv/bin/ruff format --check --quiet . || { echo "Run 'make format'."; exit 1; }
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy --no-error-summary
	@.venv/bin/lint-imports --no-logo >.venv/imports.log || { cat .venv/imports.log; exit 1; }
	@DATA_DIR=.venv/lint $(PY) manage.py makemigrations --check --dry-run --verbosity 1
	@echo "lint: clean"

format: .venv/.test ## let ruff format the code and fix what it can
	@.venv/bin/ruff check --quiet --fix . ; .venv/bin/ruff format --quiet .

options: .venv/.test ## write OPTIONS.md, docs/clients.md and its Chinese twin anew from the code
	@$(PY) -m tests.house.options
	@DATA_DIR=.venv/lint DJANGO_SETTINGS_MODULE=gateway_project.settings $(PY) -c "import django; django.setup(); \
	  from runpy import run_module; run_module('tests.house.clients', run_name='__main__')"

messages: .venv/.test ## bring locale/ up to date with the texts in the code; needs GNU gettext
	@DATA_DIR=.venv/lint $(PY) -m tests.house.messages

login-browser: .venv/.run requirements/login-browser.txt ## install what drives a browser for automatic log-ins at Lingma
	@requirements/install login-browser

bench: .venv/.test ## compare the whole gateway with none and with a bare proxy, as a table
	@$(PY) -m tests.bench $(ARGS)

trials: .venv/.test ## kill, stop, cut and fill everything under load, and hold the clients against the ledger
	@$(PY) -m tests.trials $(ARGS)

lock: .venv/.test ## pin requirements/*.in anew, with hashes
	@for purpose in run test login-browser; do \
	  .venv/bin/uv pip compile --quiet --universal --fork-strategy fewest --generate-hashes --python-version 3.11 \
	    --no-annotate --no-emit-index-url --custom-compile-command "make lock" $(ARGS) \
	    requirements/$$purpose.in -o requirements/$$purpose.txt || exit 1; \
	done
	@! grep -nE '://|--index-url|--find-links' requirements/*.txt

clean: ## remove the environment and the caches; DATA_DIR stays
	rm -rf .venv .state .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# A stamp is newer than its lock when the lock is installed; the test lock holds all of the run lock.
.venv/.run: requirements/run.txt requirements/install
	@requirements/install run

.venv/.test: requirements/test.txt requirements/install
	@requirements/install test
