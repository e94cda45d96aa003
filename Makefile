# Each target is a line that a person could type; `make` lists them.
# A new .venv is made with $(PYTHON): make repro PYTHON=python3.12

PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help repro test lint bench faults experiments table curve verify ui

help:     ## this list
	@sed -n 's/^\([a-z]*:\)[^#]*## /\1	/p' Makefile

repro: .venv/installed ## the whole pipeline on the data set of params.yaml
	dvc repro

test: .venv/installed-dev ## all tests but the measurements
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadfile

lint: .venv/installed-dev ## style and form of the code
	ruff check .
	ruff format --check .

bench: .venv/installed-dev ## measurements of speed and memory
	pytest tests/benchmarks -s
	python -m tests.benchmarks.evaluation
	python -m tests.benchmarks.pseudo_masks
	python -m tests.benchmarks.cam
	python -m tests.benchmarks.coco
	python -m tests.benchmarks.pascal_b
	python -m tests.benchmarks.train_aug
	python -m tests.benchmarks.archives
	python -m tests.benchmarks.training
	python -m tests.benchmarks.training_step
	python -m tests.benchmarks.loader

faults: .venv/installed-dev ## breaks things many times, looks at what a person then sees, and counts it in README.md
	OMP_NUM_THREADS=1 pytest tests/faults --whole; ended=$$?; python -m tests.faults.campaign; exit $$ended

experiments: .venv/installed ## the experiments of this commit in 160 columns; COLUMN=size_targets.sigma adds one
	dvc exp show --drop '.*' --keep '(Experiment|dataset|method|seed|(ia_|balanced_ia_)?miou|ia_[sml]|$(COLUMN))$$'

table: .venv/installed ## result tables of README.md from metrics/experiments.csv
	python -m stages.track.table

curve: .venv/installed ## runs what is missing of the curve of `shapes`, and draws it
	python -m stages.track.curve all --dataset shapes

verify: .venv/installed ## whether the committed results belong to the committed code and params, every byte read again
	dvc status
	dvc repro --dry --allow-missing
	python -m stages.track.verify

ui: .venv/installed ## MLflow in the browser, on this machine only
	@test -f .mlflow/mlflow.db || { echo "there are no runs yet: make repro writes the first"; exit 1; }
	mlflow ui --host 127.0.0.1 --backend-store-uri sqlite:///.mlflow/mlflow.db

# What follows installs, and only where a requirements file is newer than what was installed.

.venv/installed: requirements-lock.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v not in ((3, 11), (3, 12)) and "Python 3.11 or 3.12 is needed, and $(PYTHON) is %d.%d: name another, as in make repro PYTHON=python3.12" % v)'
	test -x .venv/bin/pip || $(PYTHON) -m venv .venv
	pip install --disable-pip-version-check -r requirements-lock.txt
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	pip install --disable-pip-version-check -c requirements-lock.txt -r requirements-dev.txt
	@touch $@
