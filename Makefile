PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SWEEPS := $(if $(INSTALLED),$(VENV)/.sweeps)
ON_GPU := hardware.device=cuda output_dir=outputs/gpu

.DEFAULT_GOAL := help
.PHONY: help install train test test-all test-night slurm-and-ip lint format bench check-gpu bench-gpu reproduce figures tensorboard clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make .venv and install deeprelax into it, with what development needs

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV): some minutes, and several GB where torch comes with CUDA"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

train: $(INSTALLED) ## train LeNet with Entropy-SGD on the embedded digits (seconds)
	$(BIN)/deeprelax train

test: $(INSTALLED) ## run the default test suite, on two cores
	$(BIN)/python -m pytest -n 2

# What failed, then all skips by their reason, then the counts: the last lines say what a run is worth.
ALL_TOLD := -r fExX -p tests.skips

test-all: $(INSTALLED) $(SWEEPS) slurm-and-ip ## run the slow tests too (an hour at most; installs .[sweeps] and, as root on Debian, Slurm)
	$(BIN)/python -m pytest -m 'not night' $(ALL_TOLD)

test-night: $(INSTALLED) ## run the tests that take a night; interrupted, it resumes
	$(BIN)/python -m pytest -m night -p tests.passed $(ALL_TOLD)

# Tests say what they miss and are skipped: neither of these two ends make.
$(SWEEPS): $(INSTALLED)
	@echo "Installing the launchers, the sweeper, the frameworks and the rival of .[sweeps,integrations,rivals,export] into $(VENV)"
	@if $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,sweeps,integrations,rivals,export]' >$@.log 2>&1; \
	then touch $@; else echo "Going without .[sweeps,integrations,rivals,export], which pip could not install: $@.log says why"; fi

slurm-and-ip:
	@missing=; for each in slurmctld:slurm-wlm munged:munge ip:iproute2; do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v $${each%:*} >/dev/null || missing="$$missing $${each#*:}"; done; \
	[ -z "$$missing" ] || { [ "$$(id -u)" = 0 ] && echo "Installing$$missing with apt-get" && { apt-get update && \
	  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing; } >/dev/null 2>&1; } \
	  || echo "Going without$$missing: only root can install them, with apt-get and a network"

figures: $(INSTALLED) ## draw every figure of docs/pde.md into outputs/pde (three minutes)
	for figure in $(filter-out verify hamiltonian,$(basename $(notdir $(wildcard configs/pde/*.yaml)))); do \
	  $(BIN)/deeprelax pde $$figure || exit 1; done
	$(BIN)/deeprelax pde smooth problem=rastrigin dimension=2 time=0.02,0.1,0.5
	$(BIN)/deeprelax train experiment=odenet_digits optimizer=adamw
	$(BIN)/deeprelax pde hamiltonian

lint: $(INSTALLED) ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED) ## mend format and style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## measure what optimizer steps cost (minutes; leave the machine alone meanwhile)
	$(BIN)/deeprelax bench

check-gpu: $(INSTALLED) ## ask a GPU all that can be asked in six minutes (BIN=DIR INSTALLED= takes an environment of your own)
	$(BIN)/python -m tests.gpu.check

bench-gpu: $(INSTALLED) ## measure what optimizer steps cost on a GPU
	for net in lenet mlp; do $(BIN)/python -m deeprelax bench model=$$net dataset=mnist $(ON_GPU)/$$net \
	  hardware.cuda_graphs=true evaluations=400 || exit 1; done
	for net in all_cnn wrn_16_4 wrn_28_10; do $(BIN)/python -m deeprelax bench model=$$net dataset=cifar10 $(ON_GPU)/$$net \
	  hardware.precision=bfloat16 hardware.cuda_graphs=true whole_run=null || exit 1; done

tensorboard: $(INSTALLED) ## show the runs under outputs/ on http://localhost:6006
	$(BIN)/tensorboard --logdir outputs

reproduce: $(INSTALLED) ## make the README's picture and table (at most 30 minutes on 2 cores; DATA=DIR if MNIST is in DIR)
	$(BIN)/deeprelax train -m +sweep=reproduce $(if $(DATA),data_dir='$(DATA)') $(ARGS); status=$$?; \
	$(BIN)/deeprelax compare outputs/reproduce --seeds && exit $$status

clean: ## remove .venv and caches; outputs/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find deeprelax tests -name __pycache__ -type d -prune -exec rm -rf {} +
