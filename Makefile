# Every target does its own set-up: a bare Python 3.11 or newer is enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Test processes at once.
WORKERS ?= 2

.PHONY: help demo test check bench test-all test-live install clean

help:
	@echo "make demo    Label Studio with a pool of pre-labelled pictures (IMAGES=/folder LABELS=\"a,b\" WEIGHTS=... for your own)"
	@echo "make test    the default test suite"
	@echo "make check   formatting, lint, types, import contracts"
	@echo "make bench   the benchmarks, short form"
	@echo "make test-live   tests against a real Label Studio and in a browser"

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || { echo "making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "thresher needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")' && $(PYTHON) -m venv $(VENV); }
	@echo "installing (several minutes the first time: PyTorch is large)"
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --progress-bar on -e ".[demo,test,postgres]"
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/thresher demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(LABELS),--labels "$(LABELS)") $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(if $(FOLDER),--folder "$(FOLDER)")

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-live: $(STAMP)
	$(BIN)/python -m pytest -m "live or browser"

test-all: $(STAMP)
	$(BIN)/python -m pytest -m "not gpu"

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	@for file in $$(ls benchmarks/*.py | grep -v -e __init__ -e closing); do echo "== $$file"; $(BIN)/python $$file --quick || exit 1; done

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
