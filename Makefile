# Set-up, checks and everyday use. Needs make and Python 3.11 or newer, nothing else. `make help` lists the commands.
#
# Recipes are plain POSIX sh and work with the GNU make 3.81 that macOS ships. pip is used as the machine has it
# configured (index, certificates, proxy); nothing here overrides that, and `make lock` records none of it.

VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= results
MEASURE ?= --html $(RESULTS)/report.html --json $(RESULTS)/report.json --csv $(RESULTS)/report.csv \
	--db $(RESULTS)/runs.sqlite
# Further options for the program: make scan TARGETS=hosts.txt ARGS='--confirm none'
ARGS ?=
# Further options for pytest: make test PYTEST='-k merge'
PYTEST ?=
# Processes that test at a time; most of the time a test waits for servers. A file of tests stays in one of them.
JOBS ?= 3
LAB_INSTALL ?= tests/lab/install.sh
# make lock UPGRADE=1 takes the newest versions that pyproject.toml allows; else existing pins are kept.
UPGRADE ?=

# nassl (sslyze's engine) is published as wheels for these; a newer Python would fail in pip with a worse message.
PYTHONS := python3.13 python3.12 python3.11 python3.14 python3
CHECK_VERSION := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL_LOCKED := $(PIP) install --quiet --require-hashes --no-build-isolation

# In words, because make turns every failure into its own 2.
EXPLAIN := status=$$?; case $$status in \
	0) meaning='every host is compliant and every question was answered' ;; \
	1) meaning='there are findings' ;; \
	2) meaning='usage: the targets or options are wrong, nothing was scanned' ;; \
	3) meaning='something is UNKNOWN: not every question was answered' ;; \
	130) meaning='interrupted' ;; \
	*) meaning='a crash: please report it' ;; esac; \
	echo "entra-tls ended with exit code $$status: $$meaning."; exit $$status

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo scan test check lab exactness bench wheel lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

setup: $(VENV)/.dev-ready ## create .venv with the program and the development tools, from the lock files
	@echo "Ready: $(BIN)/entra-tls"

demo: $(VENV)/.run-ready ## scan embedded servers on loopback; no network needed after set-up
	@mkdir -p $(RESULTS)
	@$(BIN)/entra-tls demo $(ARGS)

scan: $(VENV)/.run-ready ## scan your hosts: make scan TARGETS=targets.example.txt
	@if [ -z '$(TARGETS)' ]; then \
		echo 'make scan needs a targets file: make scan TARGETS=targets.example.txt' >&2; exit 2; fi
	@if [ ! -r '$(TARGETS)' ]; then echo 'make scan: cannot read the targets file $(TARGETS)' >&2; exit 2; fi
	@mkdir -p $(RESULTS)
	@$(BIN)/entra-tls scan --file '$(TARGETS)' $(MEASURE) $(ARGS); $(EXPLAIN)

test: $(VENV)/.dev-ready lab ## everything that must hold: lint, format, types, tests with real servers
	@failed=''; \
	echo '== ruff check'; $(BIN)/ruff check . || failed="$$failed ruff-check"; \
	echo '== ruff format --check'; $(BIN)/ruff format --check . || failed="$$failed ruff-format"; \
	echo '== mypy --strict'; $(BIN)/mypy --strict scanner || failed="$$failed mypy"; \
	echo '== pytest'; $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST) || failed="$$failed pytest"; \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed" >&2; exit 1; fi

check: $(VENV)/.dev-ready ## lint, format and types only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict scanner

lab: $(VENV)/.dev-ready ## install the servers that the tests start (Debian as root; elsewhere lists what is left out)
	@PYTHON=$(BIN)/python sh $(LAB_INSTALL)

exactness: $(VENV)/.dev-ready lab ## ten sweeps of a lossy /16 in a namespace, with kills and shards; as root, about 12 minutes
	@$(BIN)/python -m tests.exactness $(ARGS)

bench: $(VENV)/.dev-ready lab ## install the peers, measure speed beside them and against every target, on loopback
	@$(BIN)/python -m bench $(ARGS)

wheel: $(VENV)/.dev-ready ## build dist/*.tar.gz and, from it, dist/*.whl
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation

# uv and not pip, because its locks hold for every Python and platform at once. It reads no pip configuration, so the
# machine's own index, if it has one, is handed over in the environment; the lock files never name an index.
LOCK := UV_INDEX_URL="$${UV_INDEX_URL:-$$($(PIP) config get global.index-url 2>/dev/null || true)}"; \
	[ -n "$$UV_INDEX_URL" ] && export UV_INDEX_URL || unset UV_INDEX_URL; \
	uv() { $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-config \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) "$$@"; }

lock: $(VENV)/.dev-ready ## write the lock files again from pyproject.toml (UPGRADE=1: newest versions)
	@$(LOCK); set -e; \
	uv pyproject.toml --output-file requirements.lock; \
	uv --group pyproject.toml:build --constraint requirements.lock --output-file requirements-build.lock; \
	uv pyproject.toml --group dev --group build --constraint requirements.lock --constraint requirements-build.lock \
		--output-file requirements-dev.lock

clean: ## remove what was built, .venv included; results and downloads (.cache) are kept
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp says: this environment holds what the files on its right ask for.
$(VENV)/.created:
	@if $(BIN)/python -c '$(CHECK_VERSION)' 2>/dev/null; then echo 'Using the $(VENV) that is there'; touch $@; exit 0; fi; \
	found=''; for candidate in $(PYTHON) $(PYTHONS); do \
		if command -v "$$candidate" >/dev/null 2>&1 && "$$candidate" -c '$(CHECK_VERSION)' 2>/dev/null; then \
			found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
		echo 'Python 3.11, 3.12, 3.13 or 3.14 is needed, and none was found on PATH.' >&2; \
		echo 'Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13.' >&2; \
		echo 'Or say which one to use: make setup PYTHON=/path/to/python3.12' >&2; exit 1; fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
		version=$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
		echo "$$found has no venv or ensurepip module, so no virtual environment can be made." >&2; \
		echo "Debian, Ubuntu: apt-get install python3-venv (or python$$version-venv), then run make again." >&2; \
		exit 1; fi; \
	echo "Creating $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV) && touch $@

$(VENV)/.build-ready: requirements-build.lock $(VENV)/.created
	@echo 'Installing pip and the build tools'
	@$(INSTALL_LOCKED) -r requirements-build.lock
	@touch $@

$(VENV)/.run-ready: requirements.lock pyproject.toml $(VENV)/.build-ready
	@echo 'Installing the program'
	@$(INSTALL_LOCKED) -r requirements.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev-ready: requirements-dev.lock $(VENV)/.run-ready
	@echo 'Installing the development tools'
	@$(INSTALL_LOCKED) -r requirements-dev.lock
	@touch $@
