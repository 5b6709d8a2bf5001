# Two commands do the work: `make bootstrap` on a machine that is to be used, `make test` before a change is shared.
.DEFAULT_GOAL := help
.PHONY: help bootstrap plan verify project benchmark report bundle image acceptance disaster test performance lock readmes fixtures clean
STAGES := lint types unit docs package compat images sanity main_job molecule roles fleets
.PHONY: $(STAGES)

# The hosts that `make bootstrap` is about, and what else ansible-playbook shall hear: make bootstrap LIMIT=h100 ARGS=--check
LIMIT ?= local
ARGS ?=

# A bundle that `make bundle` wrote, for a host without a network: make bootstrap BUNDLE=bundle/h200
BUNDLE ?=
ifneq ($(BUNDLE),)
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(abspath $(BUNDLE))/wheels
override ARGS += -e @$(BUNDLE)/variables.yml -e bundle_dir=$(BUNDLE)
endif

# Ansible starts twice as fast from byte-code.
unexport PYTHONDONTWRITEBYTECODE

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do printf '%-10s %s\n' "$$name" "$$text"; done
	@printf '%-10s %s\n' '' 'One stage of the tests: $(STAGES)' '' 'One scenario: make molecule SCENARIO=fleet'

bootstrap: ## Prepare the controller in .venv and set up this machine: CUDA, CUTLASS, PyTorch, proven
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook bootstrap.yml -l '$(LIMIT)' $(ARGS)

plan: ## Say what bootstrap would do and why, and touch nothing
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/plan.yml -l '$(LIMIT)' $(ARGS)

verify: ## Prove again what is installed
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/verify.yml -l '$(LIMIT)' $(ARGS)

project: ## Put right and hold the PyTorch of a project on a host: LIMIT=h100 PROJECT=/srv/app ARGS='-e project_environment_cuda=13.0'
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/project.yml -l '$(LIMIT)' -e project_environment_path='$(PROJECT)' $(ARGS)

benchmark: ## Measure the GPUs, beside known ones: ARGS='-e gpu_benchmark_level=full'; a GPU below its floor fails
	@scripts/prepare.sh report || { echo "Without matplotlib the page has its tables alone." && scripts/prepare.sh run; }
	@.venv/bin/ansible-playbook playbooks/benchmark.yml -l '$(LIMIT)' $(ARGS)

report: ## Write the page of a benchmark anew: RESULTS=benchmarks/HOST-LEVEL/results.json
	@scripts/prepare.sh report || { echo "Without matplotlib the page has its tables alone." && scripts/prepare.sh run; }
	@.venv/bin/ansible-playbook playbooks/report.yml -e gpu_benchmark_results_path='$(abspath $(RESULTS))' $(ARGS)

bundle: ## Download what an offline host needs into bundle/HOST, for its decision: LIMIT=h200 ARGS='-e bundle_controller=true'
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/bundle.yml -l '$(LIMIT)' $(ARGS)

image: ## Render what an image of a profile is built from into image/LIMIT, with RunPod's template: LIMIT=h100; no host is touched
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/image.yml -e image_hosts='$(LIMIT)' $(ARGS)

acceptance disaster: export ACCEPTANCE_LIMIT = $(LIMIT)
acceptance disaster: export ACCEPTANCE_ARGS = $(ARGS)

WHAT ?= acceptance
acceptance: ## On a host with a GPU: facts, plan, bootstrap, full proof, again, with times; WHAT=source: an extension compiled there
	@scripts/prepare.sh acceptance
	@.venv/bin/python -m pytest -q -rs -s -p no:cacheprovider tests/acceptance/test_$(WHAT).py

disaster: ## On a host with a GPU that is nobody's: break CUDA in each known way, see that the play mends it; its files are put back
	@scripts/prepare.sh acceptance
	@.venv/bin/python -m pytest -q -rs -s -p no:cacheprovider tests/acceptance/test_disaster.py

test: ## Run every check
	@scripts/test.sh

performance: ## Time the bootstrap on simulated pods and write docs/performance.md; PODS='1 8 24' is how many at once
	@scripts/prepare.sh dev
	@scripts/engine.sh
	@molecule/shared/image/build.sh
	@.venv/bin/python molecule/shared/mirror/build.py
	@.venv/bin/python molecule/shared/performance/measure.py $(PODS)

$(STAGES):
	@scripts/test.sh $@

lock: ## Write the lock files anew from requirements*.in; ARGS=--upgrade moves what they bring along
	@scripts/prepare.sh run
	@for name in requirements requirements-acceptance requirements-report requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' \
	    $(ARGS) --output-file $$name.txt $$name.in; done

readmes: ## Write the option tables of the role READMEs anew from their argument specs
	@scripts/prepare.sh dev
	@.venv/bin/python scripts/role_readmes.py

fixtures: ## Make a test's fixture and a simulated pod of what scripts/record.sh wrote: make fixtures RECORDING=recording NAME=h200-driver-580
	@scripts/prepare.sh dev
	@.venv/bin/python scripts/fixtures.py '$(RECORDING)' '$(NAME)'

clean: ## Remove what the above made inside the checkout; what is installed on hosts stays
	rm -rf .venv .ansible .cache .mypy_cache .pytest_cache .ruff_cache tests/output podsmith-gpu-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
