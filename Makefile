# Two commands do the work: `make bootstrap` sets a machine up, `make test` checks a change before it is shared.
.DEFAULT_GOAL := help
.PHONY: help bootstrap plan verify project benchmark report bundle image acceptance disaster test nightly performance lock readmes fixtures release clean
STAGES := lint types unit docs package compat images sanity main_job molecule roles fleets lives
.PHONY: $(STAGES)

# LIMIT: the hosts to work on. ARGS: further arguments for ansible-playbook. Example: make bootstrap LIMIT=h100 ARGS=--check
LIMIT ?= local
ARGS ?=

# BUNDLE: a folder written by `make bundle`, for a host without a network: make bootstrap BUNDLE=bundle/h200
BUNDLE ?=
ifneq ($(BUNDLE),)
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(abspath $(BUNDLE))/wheels
override ARGS += -e @$(BUNDLE)/variables.yml -e bundle_dir=$(BUNDLE)
endif

# With byte-code Ansible starts in half the time.
unexport PYTHONDONTWRITEBYTECODE

help: ## List these targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do printf '%-10s %s\n' "$$name" "$$text"; done
	@printf '%-10s %s\n' '' 'One stage of the tests: $(STAGES)' '' 'One scenario: make molecule SCENARIO=fleet'

bootstrap: ## Set up this machine with a proven CUDA, CUTLASS and PyTorch (or LIMIT=h100); prepares Ansible in .venv first
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook bootstrap.yml -l '$(LIMIT)' $(ARGS)

plan: ## Show what bootstrap would do and why; changes nothing. For a recording: make plan RECORDING=recording LIMIT=h100 ARGS=cuda=13.0
ifneq ($(RECORDING),)
	@scripts/plan '$(RECORDING)' --profile '$(LIMIT)' $(ARGS)
else
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/plan.yml -l '$(LIMIT)' $(ARGS)
endif

verify: ## Prove the installed stack again
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/verify.yml -l '$(LIMIT)' $(ARGS)

project: ## Fix the PyTorch of a project and keep it: LIMIT=h100 PROJECT=/srv/app ARGS='-e project_environment_cuda=13.0'
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/project.yml -l '$(LIMIT)' $(if $(PROJECT),-e project_environment_path='$(PROJECT)') $(ARGS)

benchmark: ## Measure the GPUs and compare with known ones: ARGS='-e gpu_benchmark_level=full'; a GPU below its floor fails
	@scripts/prepare.sh report || { echo "Without matplotlib the page has tables and no plots." && scripts/prepare.sh run; }
	@.venv/bin/ansible-playbook playbooks/benchmark.yml -l '$(LIMIT)' $(ARGS)

report: ## Write a benchmark's page again from its figures: RESULTS=benchmarks/HOST-LEVEL/results.json
	@[ -f '$(RESULTS)' ] || { echo "RESULTS is '$(RESULTS)'; expected the results.json that \`make benchmark\` wrote: make report RESULTS=benchmarks/HOST-LEVEL/results.json" >&2; exit 2; }
	@scripts/prepare.sh report || { echo "Without matplotlib the page has tables and no plots." && scripts/prepare.sh run; }
	@.venv/bin/ansible-playbook playbooks/report.yml -e gpu_benchmark_results_path='$(abspath $(RESULTS))' $(ARGS)

bundle: ## Download what an offline host needs into bundle/HOST: LIMIT=h200 ARGS='-e bundle_controller=true'
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/bundle.yml -l '$(LIMIT)' $(ARGS)

image: ## Write the build context of a profile's image and RunPod's template into image/LIMIT: LIMIT=h100; touches no host
	@scripts/prepare.sh run
	@.venv/bin/ansible-playbook playbooks/image.yml -e image_hosts='$(LIMIT)' $(ARGS)

acceptance disaster: export ACCEPTANCE_LIMIT = $(LIMIT)
acceptance disaster: export ACCEPTANCE_ARGS = $(ARGS)

WHAT ?= acceptance
acceptance: ## Accept a GPU host: facts, plan, bootstrap, full proof, second run, with times; WHAT=source compiles an extension there
	@scripts/prepare.sh acceptance
	@.venv/bin/python -m pytest -q -rs -s -p no:cacheprovider tests/acceptance/test_$(WHAT).py

disaster: ## On a disposable GPU host: break CUDA in each known way and check that the play repairs it; edited files are restored
	@scripts/prepare.sh acceptance
	@.venv/bin/python -m pytest -q -rs -s -p no:cacheprovider tests/acceptance/test_disaster.py

test: ## Run every check
	@scripts/test.sh

nightly: ## Run what is too long for every change: the ansible-core releases between oldest and newest, two bootstraps compared
	@scripts/test.sh images nightly

performance: ## Time the bootstrap on simulated pods and write docs/performance.md; PODS='1 8 24': how many at once
	@scripts/prepare.sh dev
	@scripts/engine.sh
	@molecule/shared/image/build.sh
	@.venv/bin/python molecule/shared/mirror/build.py
	@.venv/bin/python molecule/shared/performance/measure.py $(PODS)

$(STAGES):
	@scripts/test.sh $@

lock: ## Regenerate the lock files from requirements*.in; ARGS=--upgrade also upgrades what is not pinned there
	@scripts/prepare.sh run
	@for name in requirements requirements-acceptance requirements-report requirements-dev; do \
	  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock' \
	    $(ARGS) --output-file $$name.txt $$name.in; done

readmes: ## Regenerate the variable tables of the role READMEs, and what docs/troubleshooting.md says of CUDA's errors
	@scripts/prepare.sh dev
	@.venv/bin/python scripts/role_readmes.py
	@.venv/bin/python scripts/error_page.py

fixtures: ## Turn a recording of scripts/record.sh into a test fixture and a simulated pod: RECORDING=recording NAME=h200-driver-580
	@scripts/prepare.sh dev
	@.venv/bin/python scripts/fixtures.py '$(RECORDING)' '$(NAME)'

release: ## Make a release locally: changelog, tested tarball, commit and tag; publishes nothing: VERSION=1.2.0
	@scripts/release.sh '$(VERSION)'

clean: ## Remove everything generated in the checkout; what is installed on hosts stays
	rm -rf .venv .ansible .cache .mypy_cache .pytest_cache .ruff_cache tests/output podsmith-gpu-*.tar.gz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
