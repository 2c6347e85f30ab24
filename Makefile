# `make demo`, `make test` and `make e2e` set everything up first; Git, make and Python 3.11+ are all they need.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.dev-installed
BROWSER_STAMP := $(VENV)/.browser-installed
export UV_PYTHON_DOWNLOADS := never
# Compiling is half of what it takes to learn which tests there are, and of most starts of a process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test e2e processes browser screenshots setup dev check audit bench format mutants faults lock clean

demo: setup
	@$(VENV)/bin/cyclr-bulk demo

setup: $(STAMP)

$(STAMP): requirements/runtime.txt pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/setup.sh
	@touch $(STAMP)

# What tests and checks need beside it: whatever needs that brings it.
dev: $(DEV_STAMP)

$(DEV_STAMP): $(STAMP) requirements/dev.txt
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/setup.sh dev
	@touch $(DEV_STAMP)

test: dev
	@$(VENV)/bin/pytest -n 5 --dist loadfile --no-loadscope-reorder

# As a person starts it: the wheel, the demo, commands at a terminal and beside each other, the web server, and what may be
# done to it; then its pages in a real browser.
e2e: processes browser

processes: dev
	@$(VENV)/bin/pytest tests/commands tests/served tests/outages -n 3 --dist loadfile --no-loadscope-reorder
# By themselves: among the others some keep the machine busy on purpose, and these have deadlines.
	@$(VENV)/bin/pytest tests/hostile -n 4 --dist loadfile --no-loadscope-reorder

# Brings what it needs, Chromium too where there is none.
browser: $(BROWSER_STAMP)
	@$(VENV)/bin/pytest tests/browser

# The same, with its screenshots put where the docs show them.
screenshots: export SCREENSHOTS = docs/screenshots
screenshots: browser

$(BROWSER_STAMP): $(DEV_STAMP) requirements/browser.txt scripts/chromium.sh
	@sh scripts/chromium.sh
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --require-hashes -r requirements/browser.txt
	@touch $(BROWSER_STAMP)

check: dev
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

# Whether anything that is pinned was withdrawn, or has a known fault that a newer version mends. What cannot be asked is a
# failure (3), but for CI: make audit AUDIT=--if-reached
audit: dev
	@$(VENV)/bin/python -m tests.audit $(AUDIT)

format: dev
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format .

# All measures, or those named: make bench BENCH="speed counts"
bench: dev
	@$(VENV)/bin/python -m tests.benchmarks $(BENCH)

mutants: dev
	@$(VENV)/bin/python -m tests.mutants

faults: dev
	@$(VENV)/bin/python -m tests.faults

lock: dev
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml -o requirements/runtime.txt
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements/runtime.txt pyproject.toml --group dev -o requirements/dev.txt
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements/dev.txt --group browser -o requirements/browser.txt

clean:
	rm -rf $(VENV) .tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
