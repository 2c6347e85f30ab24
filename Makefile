# `make demo` and `make test` set everything up first; Git, make and Python 3.11+ are all they need.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
export UV_PYTHON_DOWNLOADS := never

.PHONY: demo test setup check format mutants lock clean

demo: setup
	@$(VENV)/bin/cyclr-bulk demo

setup: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/setup.sh
	@touch $(STAMP)

test: setup
	@$(VENV)/bin/pytest -n 3 --dist worksteal

check: setup
	@$(VENV)/bin/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-logo

format: setup
	@$(VENV)/bin/ruff check --fix --quiet . ; $(VENV)/bin/ruff format .

mutants: setup
	@$(VENV)/bin/python -m tests.mutants

lock: setup
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml -o requirements/runtime.txt
	@$(VENV)/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -c requirements/runtime.txt pyproject.toml --group dev -o requirements/dev.txt

clean:
	rm -rf $(VENV) .tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
