#!/usr/bin/env bash
# Makes a Docker engine available to the simulated pods. Usage: scripts/engine.sh [stop].
# An engine that answers is used as it is. Else, as root: installs what is missing and starts one, whose pid file and log lie in
# .cache/engine; images stay in the engine's usual place. `stop` ends that engine and no other.
set -euo pipefail
cd -P "$(dirname "$0")/.."

work=$PWD/.cache/engine
pid_file=$work/dockerd.pid
log=$work/dockerd.log

fail() {
  echo "engine: $*" >&2
  exit 1
}

answers() { timeout 20 docker info >"$work/info" 2>&1 && ! grep -q '^ERROR' "$work/info"; }
ours() { [ -e "$pid_file" ] && grep -qsz dockerd "/proc/$(<"$pid_file")/cmdline"; }

install() {
  local missing=() need
  for need in dockerd:docker.io docker:docker.io iptables:iptables; do
    command -v "${need%:*}" >/dev/null || [[ ${missing[*]} == *${need#*:}* ]] || missing+=("${need#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    fail "found no ${missing[*]} and no apt-get, wanted a Docker engine; install one (https://docs.docker.com/engine/install/) and start it."
  echo "Installing ${missing[*]}, for the containers that stand for GPU machines"
  { apt-get update -qq && apt-cache show docker-cli >/dev/null 2>&1 && missing+=(docker-cli) || :; } >"$work/apt.log" 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >>"$work/apt.log" 2>&1 ||
    fail "could not install ${missing[*]}: $(tail -n 3 "$work/apt.log") (all of it: $work/apt.log)"
}

start() {
  mkdir -p "$work"
  if answers; then return; fi
  [ -z "${DOCKER_HOST:-}" ] ||
    fail "found no engine behind DOCKER_HOST=$DOCKER_HOST ($(tail -n 1 "$work/info")); start it, or unset DOCKER_HOST to use one of this machine."
  [ "$(id -u)" = 0 ] ||
    fail "found no Docker engine that answers $(id -un) ($(tail -n 1 "$work/info")), wanted one for the containers that stand for GPU machines;" \
      "install it (on Debian and Ubuntu: apt-get install docker.io), start it and put $(id -un) into the group docker, or run this as root."
  install
  if answers; then return; fi # the package's own service
  echo "Starting a Docker engine, which $0 stop ends; its log is $log"
  # Closed are the caller's files: what waits for their end would wait for the engine's.
  setsid dockerd --pidfile "$pid_file" </dev/null >"$log" 2>&1 9>&- &
  for _attempt in $(seq 150); do
    if answers; then return; fi
    kill -0 $! 2>/dev/null || break
    sleep 0.2
  done
  fail "the Docker engine did not start: $(tail -n 5 "$log") (all of it: $log)"
}

stop() {
  ours || return 0
  local pid
  pid=$(<"$pid_file")
  kill "$pid"
  for _attempt in $(seq 300); do
    [ -e "/proc/$pid" ] || { rm -f "$pid_file" && return; }
    sleep 0.1
  done
  fail "the Docker engine (process $pid) did not end within 30 s; see $log."
}

case ${1:-start} in
  start) start ;;
  stop) stop ;;
  *) fail "found the argument '$1', wanted 'start' or 'stop'." ;;
esac
