# Needs nothing but make and Python >= 3.11. Everything else goes into .venv, from requirements.lock.
ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3 python3.12 python3.13; do \
    "$$p" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
endif
CORES ?= all
# The programs of .venv come first, so that the steps which snakemake starts run there too.
RUN := PATH="$(CURDIR)/.venv/bin:$$PATH"
# The demos' steps are short: they start as copies of one process that has loaded the libraries.
WARM := $(RUN) python tools/warm.py
# One core per worker: libraries start no threads of their own.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(RUN) python -m pytest -q
WORKERS ?= logical --maxprocesses 8
# What is left out of the tests, but for make test-all.
FAST = and not slow
CONFIG ?= config.yaml
# The folder of a finished run, of make figures and make report.
R ?= results/demo

.PHONY: help setup demo demo-control demo-all demo-real plan prefetch check-demo check-demo-control check-demo-real check-demo-seeds check-real-seeds check-report check-models benchmark-selectors figures report bench bench-gpu test test-workflow test-faults test-slurm test-all lint format lock clean

help:
	@echo 'make setup       make .venv with all that is pinned; the other commands do it themselves'
	@echo 'make demo        set up, run a pretrained model that reads flags, say where the report is (minutes)'
	@echo 'make demo-control  tiny models of an invented world, one of them with planted neurons (minutes)'
	@echo 'make demo-all    the same with one model of each architecture of the paper (minutes)'
	@echo 'make demo-real   a pretrained model on real facts of six countries, in words alone (minutes)'
	@echo 'make plan        calibrate each model on a few batches, say what the whole run will cost'
	@echo 'make prefetch    fetch models and data from the hub, for compute nodes without network'
	@echo 'make benchmark-selectors  judge the selectors on models whose neurons are known (minutes)'
	@echo 'make figures     draw the figures of a finished run again, from its folder alone (R=results/demo)'
	@echo 'make report      the same with the tables for a paper and the report'
	@echo 'make check-demo  check the results of the demo (check-demo-control, check-demo-real: of demo-control, demo-real)'
	@echo 'make check-report  the demo'"'"'s report in a real browser, which it installs (Debian)'
	@echo 'make check-models  a tiny model of every family of transformers, checked; writes docs/model-families.md (minutes)'
	@echo 'make bench       measure against references, write benchmarks/RESULTS.md (half an hour)'
	@echo 'make bench-gpu   the same for a model of 7B shapes on a GPU'
	@echo 'make test        set up, run the tests of the package (minutes)'
	@echo 'make test-workflow  run a small project for real; what runs again after a change (minutes)'
	@echo 'make test-faults  kill, fill the disk, damage files: real runs that must come through (minutes)'
	@echo 'make test-slurm  a small project and the faults of a cluster, on a real Slurm that it starts (Debian; minutes)'
	@echo 'make test-all    all of these, with the slow tests and all cases, and the demos with their checks'
	@echo 'make lint        ruff, the order of imports, snakemake --lint'
	@echo 'make format      let ruff mend what it can'
	@echo 'make lock        refresh requirements*.lock from pyproject.toml (LOCK_OPTIONS=--upgrade to move pins)'
	@echo 'make clean       remove results/'
	@echo 'Settings: CORES=2 (of the workflow; default: all), CONFIG=config/paper-vlm.yaml (of make plan, prefetch),'
	@echo '          R=results/cvqa (of make figures, report),'
	@echo '          WORKERS=2 (of the tests), PYTHON=/path/to/python3.11'

setup:
	@test -n "$(PYTHON)" || { echo "set-up: no Python >= 3.11 with the modules ensurepip and venv was found" \
	    "(on Debian or Ubuntu: apt install python3-venv); or name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" tools/set_up.py

demo: setup
	$(WARM) snakemake --cores $(CORES) --rerun-incomplete --quiet rules
	@echo "The report is at results/demo/report.html"

demo-control: setup
	$(WARM) snakemake --configfile config/control.yaml --cores $(CORES) --rerun-incomplete --quiet rules
	@echo "The report is at results/control/report.html"

demo-all: setup
	$(WARM) snakemake --configfile config/demo-all.yaml --cores $(CORES) --rerun-incomplete --quiet rules
	@echo "The report is at results/demo-all/report.html"

demo-real: setup
	$(WARM) snakemake --configfile config/real.yaml --cores $(CORES) --rerun-incomplete --quiet rules
	@echo "The report is at results/real/report.html"

plan: setup
	$(RUN) snakemake plan --configfile $(CONFIG) --cores $(CORES) --quiet all

prefetch: setup
	$(RUN) snakemake prefetch --configfile $(CONFIG) --cores 1 --quiet all

check-demo: setup
	$(PYTEST) tests/demo/test_demo.py

check-demo-control: setup
	$(PYTEST) tests/demo/test_control.py

check-demo-real: setup
	$(PYTEST) tests/demo/test_real.py

check-demo-seeds: demo
	$(PYTEST) tests/demo/test_demo_seeds.py

check-real-seeds: demo-real
	$(PYTEST) tests/demo/test_real_seeds.py

benchmark-selectors: setup
	$(WARM) snakemake --configfile config/selector-benchmark.yaml --cores $(CORES) --rerun-incomplete --quiet rules
	@echo "The report is at results/selector-benchmark/report.html"

check-report: demo
	@tools/install_chromium.sh
	$(PYTEST) -n 2 tests/browser

check-models: setup
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(RUN) python -m tests.families

figures: setup
	$(RUN) python -m culture_neurons.steps.figures --results "$(R)"

report: figures
	$(RUN) python -m culture_neurons.steps.report --results "$(R)"

bench: demo demo-all demo-real
	$(RUN) python -m benchmarks

bench-gpu: setup
	$(RUN) python -m benchmarks gpu

test: setup
	$(PYTEST) $(PROFILE) -m 'not workflow $(FAST)' -n $(WORKERS) --dist worksteal \
	    $(addprefix --ignore=tests/,browser demo faults pipeline slurm)

# By files, so that the two projects that are run once are run at the same time.
test-workflow: setup
	$(PYTEST) $(PROFILE) -m 'workflow $(FAST)' -n 2 --dist loadfile --no-loadscope-reorder \
	    $(shell grep -rl 'mark.workflow' tests --include='test_*.py')

test-faults: setup
	$(PYTEST) -m 'faults $(FAST)' -n 2 --dist worksteal tests/faults

test-slurm: setup
	@tools/install_slurm.sh
	PATH="$$PATH:/usr/sbin:/sbin"; $(PYTEST) -m 'slurm $(FAST)' tests/slurm

test-all: FAST =
test-all: PROFILE = --hypothesis-profile=all
test-all: test test-workflow test-faults test-slurm demo check-demo check-demo-seeds demo-control check-demo-control demo-real check-demo-real check-real-seeds check-report

lint: setup
	$(RUN) ruff check .
	$(RUN) lint-imports
	$(RUN) snakemake --lint

format: setup
	$(RUN) ruff check --fix .

lock: setup
	@$(RUN) python -m pip install --quiet uv
	@$(RUN) python tools/lock.py $(LOCK_OPTIONS)

clean:
	rm -rf results
