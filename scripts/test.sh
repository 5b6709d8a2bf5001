#!/usr/bin/env bash
# Runs the checks. Usage: scripts/test.sh [stage ...]; without a stage, all but the stage nightly. Each stage's output is kept in tests/output/ and
# shown if it fails. SCENARIO="fleet life" restricts the stage molecule to these scenarios.
set -euo pipefail
cd -P "$(dirname "$0")/.."

scripts/prepare.sh dev

top=$PWD
work=$top/.cache/test   # what the stages keep between runs
logs=$top/tests/output
field() { sed -n "s/^$1: *//p" "$top/galaxy.yml"; }
namespace=$(field namespace)
name=$(field name)
tree=$work/tree/ansible_collections/$namespace/$name # a copy of the checkout at a collection's path, without ignored files

export PATH="$top/.venv/bin:$PATH"
export ANSIBLE_LOCALHOST_WARNING=False ANSIBLE_NOCOLOR=1 PY_COLORS=0 PYTHONUNBUFFERED=1
export MOLECULE_GLOB='molecule/*/molecule.yml'
export TMPDIR=$work/tmp # nothing is left outside the checkout
unset PYTHONDONTWRITEBYTECODE ANSIBLE_FORCE_COLOR
# shellcheck disable=SC2046 # names, one a line
unset $(git rev-parse --local-env-vars) # set by git in a hook; they would point the snapshot's git at this repository

lint() {
  yamllint --strict .
  ruff check --quiet .
  ruff format --quiet --check . || { ruff format --diff . 2>/dev/null || true; return 1; }
  git ls-files -co --exclude-standard -- '*.sh' .ci/run molecule/shared/{image/pod,inventory/addresses} | xargs shellcheck
  ansible-lint --nocolor -q
  ansible-playbook --inventory molecule/shared/inventory --syntax-check molecule/shared/playbooks/*.yml molecule/*/{prepare,converge,role,rollback}.yml
}

types() {
  mypy -p "ansible_collections.$namespace.$name.plugins"
  git ls-files -co --exclude-standard -- 'scripts/*.py' molecule/shared/pods.py | xargs mypy
}

# A file goes to one worker (--dist loadfile), which makes once what its tests share.
unit() {
  pytest -q -n 2 --dist loadfile tests/unit
}

docs() {
  antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=self .
  antsibull-changelog lint
  python scripts/role_readmes.py --check
  python scripts/error_page.py --check
}

# Images and mirror of the simulated pods: the longest part of a first run, and nothing on later ones.
images() {
  scripts/engine.sh
  molecule/shared/image/build.sh
  python molecule/shared/mirror/build.py
}

# Every scenario of molecule/, end to end, on its own pods. A warning of Ansible in any step is a failure. NAMED tells apart two runs
# at the same time, neither of which removes the other's pods: finish does.
molecule() {
  local run=molecule-${NAMED:-all}
  export MOLECULE_EPHEMERAL_DIRECTORY=$work/$run ANSIBLE_LOG_PATH=$work/$run.log
  local answers=$work/bin/ansible-playbook # before each step molecule asks for the version, which takes as long as Ansible takes to start
  mkdir -p "${answers%/*}"
  printf '#!/bin/sh\n[ "$*" = --version ] || exec %q "$@"\n' "$top/.venv/bin/ansible-playbook" >"$answers"
  chmod +x "$answers"
  export PATH=${answers%/*}:$PATH
  local scenarios=(--all)
  read -ra chosen <<<"${SCENARIO:-}"
  [ ${#chosen[@]} = 0 ] || scenarios=("${chosen[@]/#/--scenario-name=}")
  rm -rf "$MOLECULE_EPHEMERAL_DIRECTORY" "$ANSIBLE_LOG_PATH" # left by an interrupted run
  touch "$work/pods" # see finish
  command molecule test --destroy="$([ -n "${NAMED:-}" ] && echo never || echo always)" "${scenarios[@]}"
  [ -s "$ANSIBLE_LOG_PATH" ] || { echo "Ansible wrote no log to $ANSIBLE_LOG_PATH; expected one without warnings." && return 1; }
  if grep -A 3 -E '\[(DEPRECATION )?WARNING\]' "$ANSIBLE_LOG_PATH"; then
    echo "Ansible warned, see above; fix the causes." && return 1
  fi
}

# In a full run: the scenarios of one role or profile each, in parallel with the other lane …
roles() {
  local path name chosen=()
  for path in molecule/*/molecule.yml; do
    name=$(basename "$(dirname "$path")")
    case " default $alone " in *" $name "*) ;; *) chosen+=("$name") ;; esac
  done
  SCENARIO=${chosen[*]} molecule
}

# … and then those that start many pods at once or compare two bootstraps: in two lanes as well, for they often wait.
alone="fleet now life performance"
fleets() { NAMED=fleets SCENARIO="fleet now" molecule; }
lives() { NAMED=lives SCENARIO=life molecule; }

# The published tarball: it builds, Galaxy accepts it, and it works where it is installed, outside the checkout.
package() {
  local made=$work/package tarball
  rm -rf "$made"
  mkdir -p "$made/elsewhere"
  ansible-galaxy collection build --output-path "$made" "$tree"
  tarball=$(echo "$made"/*.tar.gz)
  cd "$made/elsewhere"
  GALAXY_IMPORTER_CONFIG=$top/.config/galaxy-importer.cfg python -m galaxy_importer.main "$tarball"

  export ANSIBLE_COLLECTIONS_PATH=$made/collections
  ansible-galaxy collection install --offline --collections-path "$made/collections" "$tarball"
  local installed=$made/collections/ansible_collections/$namespace/$name kind shown plugins playbooks
  for kind in module filter lookup callback; do
    plugins=("$installed/plugins/${kind/module/modules}"/[!_]*.py)
    plugins=("${plugins[@]##*/}")
    plugins=("${plugins[@]%.py}")
    shown=$(ansible-doc --type "$kind" "${plugins[@]/#/$namespace.$name.}" | grep -c '^> ') # one that is not found is a warning
    [ "$shown" = ${#plugins[@]} ] || { echo "ansible-doc shows $shown of these plugins; expected all: ${plugins[*]}" && return 1; }
  done
  playbooks=("$installed"/playbooks/*.yml)
  playbooks=("${playbooks[@]##*/}")
  playbooks=("${playbooks[@]%.yml}")
  ansible-playbook --syntax-check --inventory localhost, "${playbooks[@]/#/$namespace.$name.}"
  ansible-playbook --inventory h200, -e "stack_plan_recording=$installed/tests/fixtures/h200-driver-580" "$namespace.$name.plan"
}

# The oldest ansible-core that meta/runtime.yml promises, and in the night those between it and the newest.
compat() { older 2.19:11-13; }

# What is rarely broken by a change that breaks nothing else, and takes long: once a day, and before a release.
nightly() {
  older 2.20:12-14
  NAMED=nightly SCENARIO=performance molecule
}

# older LINE:FIRST-LAST...: with ansible-core LINE, as far as this Python, 3.FIRST to 3.LAST, is one that it supports.
older() {
  local line python
  python=$(python -c 'import sys; print(sys.version_info.minor)')
  for line; do
    if [ "$python" -lt "$(cut -c6-7 <<<"$line")" ] || [ "$python" -gt "$(cut -c9-10 <<<"$line")" ]; then
      echo "ansible-core ${line%:*} does not support Python 3.$python: skipped"
      continue
    fi
    local engine=$work/core-${line%:*}
    [ -x "$engine/bin/pytest" ] || {
      uv venv --quiet --clear --python .venv/bin/python "$engine"
      uv pip install --quiet --python "$engine/bin/python" --constraint <(sed -n '/^\(pytest\|pytest-xdist\)==/p' requirements-dev.in) \
        "ansible-core==${line%:*}.*" pip pytest pytest-xdist
    }
    "$engine/bin/ansible" --version | sed -n 1p # sed reads to the end: no broken pipe
    "$engine/bin/ansible-playbook" --syntax-check bootstrap.yml playbooks/*.yml
    "$engine/bin/ansible-playbook" --inventory h200, -e stack_plan_recording=tests/fixtures/h200-driver-580 playbooks/plan.yml
    "$engine/bin/pytest" -q -n 2 --dist loadfile --ignore-glob '*_utils' tests/unit/plugins # the utils hardly depend on ansible-core
  done
}

# ansible-test follows links and asks git, so it gets the copy, and only Pythons that run: a version manager's shims may not.
sanity() {
  local shim=$HOME/.ansible/test/cache/get_pip_25_2.py version pythons=
  for version in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin; do [ ! -d "$version" ] || pythons+=$version:; done
  PATH=$top/.venv/bin:$pythons$(tr : '\n' <<<"$PATH" | grep -v '/shims$' | paste -sd :)
  # It would download pip from its own server; the one that comes with Python will do.
  [ -e "$shim" ] || { mkdir -p "$(dirname "$shim")" && printf 'import ensurepip\n\nensurepip.bootstrap(upgrade=True)\n' >"$shim"; }
  cd "$tree"
  ansible-test sanity --color no
}

# The README's commands on this machine: bootstrap, second run, repair, verify, plan.
main_job() {
  pytest tests/integration
}

snapshot() {
  rm -rf "$work/tree"
  mkdir -p "$tree"
  git ls-files -zco --exclude-standard | while IFS= read -r -d '' path; do
    case $path in tests/fixtures/*/root/*) continue ;; esac # the file systems of recorded hosts: not our code
    [ ! -e "$path" ] || printf '%s\0' "$path"
  done | tar --null --no-recursion -T - -c | tar -x -C "$tree"
  git -C "$tree" init --quiet
  git -C "$tree" add --all
}

# run STAGE: one row of the table, pytest's closing line, and the log if it failed. Never call this where the shell tests the
# outcome (`if`, `||`): bash would then continue after a failed command inside the stage.
run() {
  local stage=$1 log=$logs/$1.log begin=$SECONDS rc=0 closing
  ("$stage") >"$log" 2>&1 9>&- &
  wait $! || rc=$?
  closing=$(grep -E '^=* ?[0-9]+ (passed|failed|error).* in [0-9.]+s' "$log" | tail -n 1 || true)
  if [ $rc = 0 ]; then
    printf '%-8s passed %4d s\n%s' "$stage" $((SECONDS - begin)) "${closing:+$closing$'\n'}"
  else
    printf '%s\n%-8s FAILED %4d s: output above and in %s; run it again: make %s\n' \
      "$(<"$log")" "$stage" $((SECONDS - begin)) "${log#"$top"/}" "$stage"
    exit 1
  fi
}

lane() { for stage; do run "$stage"; done; }

# What a run leaves behind where it is interrupted: its other lane, pods, and the engine.
finish() {
  kill -- "${lanes[@]/#/-}" 2>/dev/null || true
  [ ! -e "$work/pods" ] || { python molecule/shared/pods.py down --all && rm "$work/pods"; } || true
  scripts/engine.sh stop
}

stages="lint types unit docs package compat images sanity main_job molecule roles fleets lives nightly"
for stage; do
  case " $stages " in
    *" $stage "*) ;;
    *) echo "scripts/test.sh: unknown stage '$stage'; expected some of: $stages." >&2 && exit 2 ;;
  esac
done

mkdir -p "$work"
exec 9>"$work/lock"
flock --nonblock 9 || { echo "scripts/test.sh: another run is active in this checkout; wait for it to finish." >&2 && exit 2; }
rm -rf "$TMPDIR"
mkdir -p "$logs" "$TMPDIR"
lanes=()
trap finish EXIT
scripts/link.sh
snapshot

if [ $# -gt 0 ]; then
  lane "$@"
  exit
fi

# Two lanes for two cores: a scenario of one role keeps about one core busy. Scenarios with many pods run afterwards.
set -m # each lane is a process group, so that one can stop the other
lane images roles & lanes=($!)
lane lint types unit docs package compat sanity main_job & lanes+=($!)
wait -n
wait -n
lane fleets & lanes=($!)
lane lives & lanes+=($!)
wait -n
wait -n
echo "Everything passed in $SECONDS s."
