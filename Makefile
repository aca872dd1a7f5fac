# Each target sets up what it needs; set-up is skipped while constraints.txt and pyproject.toml are unchanged.
VENV   ?= .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
RUN    ?= runs/quickstart
STAMP  := $(VENV)/.ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help setup run train-demo docs docs-serve test slow lint type arch check zoo zoo-eval bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## virtual environment with the tested versions
$(STAMP):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,docs]'
	@rm -f $(VENV)/.ready-*
	@touch $@

run: setup  ## the quick start: real images to triplet shards, stats and a contact sheet
	$(BIN)/curate run configs/quickstart.yaml
	$(BIN)/curate stats $(RUN)

train-demo: run  ## both stages of the compact USO on the quick start's shards, then emoji-bench beside copies and base
	$(BIN)/curate train configs/train/compact_stage1.yaml
	$(BIN)/curate train configs/train/compact_stage2.yaml
	$(BIN)/curate bench configs/bench/uso_compact.yaml

docs: export NO_MKDOCS_2_WARNING = 1
docs: setup  ## the documentation, as pages that open from disk; its pictures are made by a small run (a minute or two)
	$(BIN)/mkdocs build --strict
	@echo "open $(CURDIR)/build/site/index.html"

docs-serve: setup  ## the documentation on a local port, built again at every change of a page
	DOCS_PICTURES=false NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --strict

test: export OMP_NUM_THREADS = 1
test: setup  ## the fast suite in two processes, lint, types and import rules
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

slow: setup  ## the slow suite: kill -9 storms, both engines, planted bad triplets
	$(BIN)/python -m pytest -m slow

lint: setup  ## ruff
	$(BIN)/ruff check .

type: setup  ## mypy --strict
	$(BIN)/mypy

arch: setup  ## import rules between the rooms
	$(BIN)/lint-imports

check: test slow  ## everything

zoo: setup  ## train every compact model again from nothing (hours on 2 cores)
	for model in evaluator csd clip vlm restyle uso-base; do $(BIN)/curate zoo build $$model || exit 1; done

zoo-eval: setup  ## the zoo's figures on held-out subjects, with chance and a no-op beside each
	$(BIN)/curate zoo eval

bench: setup  ## engine cost: ray against a bare loop over the same models and units
	$(BIN)/python benchmarks/engine.py

clean:  ## run directories and caches (not the virtual environment)
	rm -rf runs .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info
