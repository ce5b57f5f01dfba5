# make demo: fit a GMVAE to 700 blood cells.  make test: everything that CI checks.
# make quick: the fast tests, for every save.  make docs: the site, docs/_build/html.
# make matrix: the tests on every Python that is found, with the newest and the oldest releases.
# make bench: speed beside scvi-tools' SCVI.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# a process that has no tests left takes some of another's
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test quick matrix bench docs lint mypy format audit clean

demo: $(VENV)/.installed
	rm -rf $(DEMO)
	$(BIN)/vae4counts fit pbmc68k-reduced --out $(DEMO) --label celltype

# several threads are no faster on arrays as small as these, and much slower beside other work;
# the tests share the cores instead
test quick: export OMP_NUM_THREADS = 1
# names of tests that come from sets have to be the same in all processes
test quick: export PYTHONHASHSEED = 0
# compiled files save a second in each of the many processes that tests start
test quick: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.installed-dev lint
	$(PYTEST)

quick: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

# an hour or more, and 7 GB an environment where torch comes with CUDA
matrix:
	.ci/matrix

# DATA=FILE.h5ad adds a real data set; half an hour or more, with nothing else running
bench: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/throughput.py $(if $(DATA),--data $(DATA))
	$(BIN)/python benchmarks/steps.py
	$(BIN)/python benchmarks/scaling.py

# warnings are errors, among them links and names that lead nowhere; nothing is fetched
docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -W --keep-going -j auto -q -c docs . docs/_build/html

lint: mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy: $(VENV)/.installed-dev
	mkdir -p .mypy_cache/root/vae4counts
	ln -sf $(addprefix ../../../,data guides inference models vae4counts/__init__.py vae4counts/__init__.pyi) .mypy_cache/root/vae4counts
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Asks PyPI for known faults of what is installed: needs the network, and so is no part of `test`.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

clean:
	rm -rf $(VENV) .matrix build dist runs docs/_build docs/generated *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[full]"
	touch $@

$(VENV)/.installed-bench: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.installed
