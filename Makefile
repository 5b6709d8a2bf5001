# Two commands do the work: `make bootstrap` on a machine that is to be used, `make test` before a change is shared.
.DEFAULT_GOAL := help
.PHONY: help bootstrap plan verify test performance lock readmes clean
STAGES := lint types unit docs package compat images sanity main_job molecule
.PHONY: $(STAGES)

# The hosts that `make bootstrap` is about, and what else ansible-playbook shall hear: make bootstrap LIMIT=h100 ARGS=--check
LIMIT ?= local
ARGS ?=

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
	@for name in requirements requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' \
	    $(ARGS) --output-file $$name.txt $$name.in; done

readmes: ## Write the option tables of the role READMEs anew from their argument specs
	@scripts/prepare.sh dev
	@.venv/bin/python scripts/role_readmes.py

clean: ## Remove what the above made inside the checkout; what is installed on hosts stays
	rm -rf .venv .ansible .cache .mypy_cache .pytest_cache .ruff_cache tests/output podsmith-gpu-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
