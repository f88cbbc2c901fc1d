# `make` prepares .venv, `make demo` shows the main job, `make help` lists the rest.
#
# Every step of the preparation leaves a stamp whose name carries a hash of what the step read, so a step runs again
# exactly when that changed, and an interrupted step, having left no stamp, runs again too.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := setup

PYTHON ?= python3
PIP_FLAGS ?= --quiet

# The interpreter beneath any virtual environment that happens to be active.
BASE_PYTHON := $(shell "$(PYTHON)" -c 'import os, sys; print(os.path.realpath(sys.executable))' 2>/dev/null)

ifneq ($(and $(ROS_DISTRO),$(AMENT_PREFIX_PATH)),)
DISTRIBUTION := $(shell "$(BASE_PYTHON)" -c 'import rclpy' 2>/dev/null && echo "$(ROS_DISTRO)")
endif

# Set by the ROS wheels in their own processes; inherited, it would keep .venv from finding its libraries.
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE

ifeq ($(DISTRIBUTION),)
REQUIREMENTS := requirements.txt requirements-ros.txt requirements-dev.txt
unexport PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH
else
REQUIREMENTS := requirements.txt requirements-distribution.txt requirements-dev.txt
endif

hash = $(shell { $(1); } | sha256sum | cut -c -16)
STATE := .venv/.setup
ENVIRONMENT := $(STATE)/environment-$(call hash,pwd; echo "$(BASE_PYTHON) $(DISTRIBUTION)")
PACKAGES := $(STATE)/packages-$(call hash,cat $(REQUIREMENTS))
INTERFACES := $(STATE)/interfaces-$(call hash,find ovseg_interfaces cmake scripts/build_interfaces.sh -type f \
  | LC_ALL=C sort | xargs -d '\n' sha256sum)
PROJECT := $(STATE)/project-$(call hash,cat setup.py setup.cfg package.xml pyproject.toml ovseg_ros/__init__.py)
STAMPS := $(ENVIRONMENT) $(PACKAGES) $(INTERFACES) $(PROJECT)
UNFINISHED := $(wildcard $(STATE)/unfinished)
MISSING := $(filter-out $(wildcard $(STAMPS)),$(STAMPS)) $(UNFINISHED)

.PHONY: setup demo test lint clean help FORCE

setup: $(STAMPS)  ## prepare .venv: packages, messages, the ovseg command (default)
	@echo "$(if $(strip $(MISSING)),Ready: try 'make demo'.,Nothing to do: .venv is up to date.)"

demo: $(STAMPS)  ## a generated room through real ROS 2 nodes into a map, and questions answered
	@.venv/bin/ovseg demo

test: $(STAMPS)  ## run all tests, system tests included
	@.venv/bin/python -m pytest tests -n 2 --dist loadgroup

lint: $(STAMPS)  ## ruff, mypy and the import rules
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

clean:  ## remove .venv and everything else that was built here
	@rm -rf .venv build install log demo_output *.egg-info
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*  ## (.*)/  make \1\t\2/p' Makefile | expand -t 16
	@echo "  PYTHON=...    the Python to build on (default python3), PIP_FLAGS= shows what pip does"

# pip, killed, can leave a package in halves that it later takes for whole: then start from nothing.
ifneq ($(UNFINISHED),)
$(ENVIRONMENT): FORCE
endif

$(ENVIRONMENT):
	@bash scripts/prepare_system.sh "$(PYTHON)" "$(DISTRIBUTION)"
	@echo "Creating .venv with $(BASE_PYTHON) and ROS 2 $(or $(DISTRIBUTION),wheels)."
	@rm -rf .venv
	@"$(BASE_PYTHON)" -m venv $(if $(DISTRIBUTION),--system-site-packages) .venv
	@mkdir -p $(STATE)
	@touch $@

$(PACKAGES): $(ENVIRONMENT)
	@rm -f $(STATE)/packages-*
	@touch $(STATE)/unfinished
	@echo "Installing packages into .venv (1 to 6 GB, some minutes)."
	@.venv/bin/python -m pip install $(PIP_FLAGS) --disable-pip-version-check --upgrade pip
	@bash scripts/distribution_constraints.sh "$(BASE_PYTHON)" "$(DISTRIBUTION)" > $(STATE)/constraints.txt
	@.venv/bin/python -m pip install $(PIP_FLAGS) -c $(STATE)/constraints.txt $(REQUIREMENTS:%=-r %)
	@rm $(STATE)/unfinished
	@touch $@

$(INTERFACES): $(PACKAGES)
	@rm -f $(STATE)/interfaces-*
	@echo "Building the messages of ovseg_interfaces."
	@bash scripts/build_interfaces.sh "$(DISTRIBUTION)"
	@touch $@

$(PROJECT): $(PACKAGES)
	@rm -f $(STATE)/project-*
	@PYTHONWARNINGS=ignore .venv/bin/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	@touch $@
