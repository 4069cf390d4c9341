# `make` or `make help` lists the targets. None needs root, though `make test` and `make bench` use apt as root for what is missing
# (Chromium, wrk); `make test` does without.

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench faults scale screenshots messages pins clean

help: ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# The stamp holds the whole installation, so that one cut off half-way is made again.
.venv/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit(f"uploadkit needs Python 3.11 or later; {sys.executable} is {sys.version.split()[0]}. Name another: make PYTHON=python3.12 …")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into .venv (the first time takes a minute) …"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

run: .venv/installed ## start everything on this machine and print its address
	@DEBUG=1 ENV_FILES=.env $(BIN)/python manage.py dev $(ARGS)

test: .venv/installed ## run every test against real servers and a real browser (ARGS="-n 2 -k sign")
	@$(BIN)/python -m tests.chromium || true
	@$(BIN)/python -m tests.clamd || true
	@$(BIN)/python -m pytest $(ARGS)

lint: .venv/installed ## ruff, mypy, import-linter, djade, missing migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@DEBUG=1 ENV_FILES= $(BIN)/mypy .
	@$(BIN)/lint-imports
	@$(BIN)/djade --check --target-version 5.2 $$(find templates -name '*.html')
	@DEBUG=1 ENV_FILES= $(BIN)/python manage.py makemigrations --check --dry-run

format: .venv/installed ## rewrite the code the way `make lint` wants it
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/djade --target-version 5.2 $$(find templates -name '*.html') || true

bench: .venv/installed ## measure speed, size and cost beside this machine's floors (11 minutes)
	@$(BIN)/python -m bench $(ARGS)

faults: .venv/installed ## break it for an hour and a half, and lose nothing (ARGS="--quick")
	@$(BIN)/python -m tests.chromium || true
	@$(BIN)/python -m tests.faults $(ARGS)

scale: .venv/installed ## several machines in this one, whose parts are killed in turn, for eight minutes (ARGS="--quick")
	@$(BIN)/python -m tests.scale $(ARGS)

screenshots: .venv/installed ## make the pictures of every page, and the one in the README
	@$(BIN)/python -m tests.chromium || true
	@$(BIN)/python -m pytest -p no:cacheprovider tests/browser/pictures.py $(ARGS)

messages: .venv/installed ## find the sentences to translate anew, and compile them (needs GNU gettext)
	@DEBUG=1 ENV_FILES= $(BIN)/python manage.py makemessages --all --extension html,py,jinja $(addprefix --ignore ,.venv var staticfiles tests bench) --no-obsolete --add-location file
	@DEBUG=1 ENV_FILES= $(BIN)/python manage.py compilemessages --ignore .venv

pins: ## bring the pinned requirements up to date (needs uv)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" requirements.in -o requirements.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make pins" requirements-dev.in -o requirements-dev.txt

clean: ## remove .venv and all local data (files, users, logins)
	rm -rf .venv var staticfiles
