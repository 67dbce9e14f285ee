# Two commands matter: `make run` (a real study, then a suggestion for a task it has not seen) and `make test` (all that CI checks).

PYTHON ?= python3
# Index that offers the torch build to prefer, e.g. PyTorch's own for CPU-only or for one CUDA version; empty: the usual index.
TORCH_INDEX ?=
# `make lock` keeps the pinned torch unless told otherwise: make lock TORCH='torch==X.Y.Z'
TORCH ?= $(or $(shell grep -s '^torch==' constraints.txt),torch)
PORT ?= 5000
DOCS_PORT ?= 8000

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -qq --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export TOKENIZERS_PARALLELISM := false
export GIT_PYTHON_REFRESH := quiet
# Where bytecode is forbidden, each of the many processes of a study or a test compiles kdrec anew: a tenth of its start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test chaos team lint ui docs docs-serve lock clean replication-report

help:
	@echo "make run    install into $(VENV), run the quickstart study, suggest for a third task"
	@echo "make test   install the development tools, lint, type-check, check imports, run the tests"
	@echo "make lint   the part of make test that takes seconds"
	@echo "make chaos  a study under 50 random faults: kills, lost servers, a full disk (half an hour)"
	@echo "make team   the servers of compose.yaml as processes here, and a study through them (minutes; needs Postgres)"
	@echo "make ui     browse the runs: MLflow's page on http://127.0.0.1:$(PORT) (PORT=...)"
	@echo "make docs   build the documentation into site/ (search needs a server)"
	@echo "make docs-serve  build it and show it, search included, on http://127.0.0.1:$(DOCS_PORT) (DOCS_PORT=...)"
	@echo "make replication-report  write docs/replication.md and its figures from the trials that come with kdrec"
	@echo "make lock   write constraints.txt anew from the ranges in pyproject.toml (TORCH='torch==X' moves torch)"
	@echo "make clean  remove $(VENV), caches and builds; studies in .kdrec stay"

run: $(VENV)/.runtime
	@$(BIN)/python -m flows.study flows/studies/quickstart.toml
	@echo
	@$(BIN)/kdrec suggest sms_spam --student small
	@echo
	@echo "Every trial is in MLflow: 'make ui', then open http://127.0.0.1:$(PORT)"

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

chaos: $(VENV)/.dev
	KDREC_CHAOS_FAULTS=$${KDREC_CHAOS_FAULTS:-50} $(BIN)/python -m pytest tests/flows/test_chaos.py

team: $(VENV)/.dev
	KDREC_TEAM=1 $(BIN)/python -m pytest tests/flows/test_team.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# A browser runs no search from file://: its worker and its index are fetched.
docs-serve: docs
	@echo "The documentation is on http://127.0.0.1:$(DOCS_PORT); Ctrl-C ends it"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory site $(DOCS_PORT)

replication-report: $(VENV)/.runtime
	$(BIN)/python -m kdrec.replication report

ui: $(VENV)/.runtime
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow ui --host 127.0.0.1 --port $(PORT) \
		--backend-store-uri "$$($(BIN)/python -c 'from kdrec.home import Home; print(Home.from_env().tracking_uri)')"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kdrec needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment (Debian: apt-get install python3-venv)" >&2; exit 1; }

$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): some 2 GB, 2 to 9 minutes the first time"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV), development tools included: some 2 GB, 2 to 9 minutes the first time"
	@$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.runtime $@

lock:
	@set -eu; new=$$(mktemp -d); trap 'rm -rf "$$new"' EXIT; \
	$(PYTHON) -m venv "$$new/venv"; \
	"$$new/venv/bin/python" -m pip --disable-pip-version-check install -qq \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) '.[dev]' '$(TORCH)'; \
	{ echo "# Written by 'make lock'. Ranges are in pyproject.toml; this is the set the tests ran with."; \
	  "$$new/venv/bin/python" -m pip freeze --exclude kdrec | sed 's/+[^ ]*$$//'; } > "$$new/constraints.txt"; \
	mv "$$new/constraints.txt" constraints.txt

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
