#!/bin/sh
# Prepares this checkout to run the collection: a virtual environment in .venv with the pinned tools, and the link that makes the
# checkout importable. Usage: scripts/prepare.sh [run|report|acceptance|dev]; "report" adds matplotlib, "acceptance" and "dev" add
# the tools of those tests. A second call does nothing.
set -eu
cd -P "$(dirname "$0")/.."

venv=$PWD/.venv
what=${1:-run}
case $what in
run) locks=requirements.txt ;;
report | acceptance | dev) locks=requirements-$what.txt ;; # hold requirements.txt too
*) echo "scripts/prepare.sh: unknown argument '$what'; expected 'run', 'report', 'acceptance' or 'dev'." >&2 && exit 2 ;;
esac

uv=$(command -v uv || :)
no_index= # or --no-index, if pip is configured so: uv has no variable for it

fail() {
  echo "prepare: $*" >&2
  exit 1
}

# Prints "3.12" if "$1" is a Python that runs (a version manager's shim often does not), has a supported version, and can create a
# virtual environment and install packages into it.
version() {
  "$1" -I -c 'import sys, ssl, venv
from importlib.util import find_spec
able = sys.argv[1:] or find_spec("ensurepip") or find_spec("pip")
if able and (3, 11) <= sys.version_info < (3, 15): print("%d.%d" % sys.version_info[:2])' ${uv:+uv} 2>/dev/null
}

candidates() {
  folders=$PATH:/usr/local/bin:/usr/bin
  for path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin; do folders=$folders:$path; done
  echo "$folders" | tr : '\n' | while read -r folder; do
    for path in "$folder"/python3.1[1-4] "$folder"/python3; do
      if [ -x "$path" ]; then echo "$path"; fi
    done
  done
  if [ -n "$uv" ]; then uv python find --no-project '>=3.11,<3.15' 2>/dev/null || :; fi
}

# The newest Python wins; among equals the first one found, so that the order of PATH is respected.
find_python() {
  candidates | while read -r path; do
    if found=$(version "$path") && [ -n "$found" ]; then echo "${found#3.} $path"; fi
  done | sort -s -r -n -k 1,1 | { read -r _ path && echo "$path"; }
}

# uv uses the mirrors that pip is configured with; uv's own variables win. Without a pip, the PIP_* variables still count.
follow_pip() {
  settings=$("$venv/bin/python" -m pip config list 2>/dev/null) ||
    settings=$(env | sed -n 's/^PIP_//p' | while IFS='=' read -r name value; do
      printf ":env:.%s='%s'\n" "$(echo "$name" | tr 'A-Z_' 'a-z-')" "$value"
    done)
  told() { # pip lists its variables first, and they win
    printf '%s\n' "$settings" | sed -n "s/^:env:\.$1='\(.*\)'\$/2\1/p; s/^[^:=][^=]*\.$1='\(.*\)'\$/1\1/p" |
      sort -s -k 1.1,1.1 | tail -n 1 | sed 's/^.//; s/\\n/ /g'
  }
  index=${UV_DEFAULT_INDEX:-$(told index-url)} more=${UV_INDEX:-$(told extra-index-url)} links=${UV_FIND_LINKS:-$(told find-links)}
  if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
  if [ -n "$more" ]; then export UV_INDEX="$more" UV_INDEX_STRATEGY="${UV_INDEX_STRATEGY:-unsafe-best-match}"; fi
  links=$(echo "$links" | tr ' ' ',')
  if [ -n "$links" ]; then export UV_FIND_LINKS="$links"; fi
  case $(told no-index) in 1 | [Tt]rue | [Yy]es | on) no_index=--no-index ;; esac
}

make_venv() {
  if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
    fail "$venv exists and is not a virtual environment; move it away and run this again."
  fi
  python=$(find_python) || fail "found no working Python 3.11 to 3.14 that has ssl and one of ensurepip, pip or uv;" \
    "install one (on Debian and Ubuntu: apt-get install python3 python3-venv) and run this again."
  echo "Preparing $venv with $python ($("$python" -V))"
  rm -rf "$venv"
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$venv"
  elif [ -n "$uv" ]; then
    uv venv --quiet --python "$python" "$venv"
  else
    "$python" -m venv --without-pip "$venv"
  fi
}

# Installs uv, at the locked version, into the environment; it does the rest, ten times as fast as pip.
fetch_uv() {
  pinned=$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' requirements.txt)
  if [ -x "$venv/bin/uv" ]; then
    return
  elif "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$pinned"
  elif [ -n "$uv" ]; then
    uv pip install --quiet $no_index --python "$venv/bin/python" "$pinned"
  else
    "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check "$pinned"
  fi || fail "could not install $pinned into $venv, see above; if PyPI is out of reach, set PIP_INDEX_URL to a mirror."
}

stamp() { { echo "$venv" && cat requirements.txt "$locks"; } | cksum; }

if [ "$(stamp)" = "$(cat "$venv/.prepared-$what" 2>/dev/null)" ] && "$venv/bin/python" -I -S -c '' 2>/dev/null; then
  [ -e .ansible/collections ] || scripts/link.sh
  exit 0
fi

unset PYTHONDONTWRITEBYTECODE # byte-code halves the start-up time of every later command
# An environment is recreated if its Python is gone or unsuitable, or if it was moved here and still has its old paths.
if [ -z "$(version "$venv/bin/python" || :)" ] || ! grep -qF "$venv" "$venv/bin/activate"; then make_venv; fi
follow_pip
fetch_uv
"$venv/bin/uv" pip install --quiet $no_index --python "$venv/bin/python" --compile-bytecode -r "$locks" ||
  fail "could not install $locks into $venv, see above; if PyPI is out of reach, set PIP_INDEX_URL or UV_DEFAULT_INDEX to a mirror."
stamp >"$venv/.prepared-$what"
scripts/link.sh
