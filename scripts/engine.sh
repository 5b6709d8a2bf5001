#!/usr/bin/env bash
# Makes a Docker engine available to the simulated pods. Usage: scripts/engine.sh [stop].
# A running engine is used as it is. Otherwise, as root, this installs what is missing and starts one, with its pid file and log in
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
    fail "${missing[*]} and apt-get are missing; install a Docker engine (https://docs.docker.com/engine/install/) and start it."
  echo "Installing ${missing[*]} for the simulated pods"
  { apt-get update -qq && apt-cache show docker-cli >/dev/null 2>&1 && missing+=(docker-cli) || :; } >"$work/apt.log" 2>&1
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >>"$work/apt.log" 2>&1 ||
    fail "could not install ${missing[*]}: $(tail -n 3 "$work/apt.log") (all of it: $work/apt.log)"
}

start() {
  mkdir -p "$work"
  if answers; then return; fi
  [ -z "${DOCKER_HOST:-}" ] ||
    fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST ($(tail -n 1 "$work/info")); start it, or unset DOCKER_HOST to use this machine's."
  [ "$(id -u)" = 0 ] ||
    fail "no Docker engine answers user $(id -un) ($(tail -n 1 "$work/info")), and the simulated pods need one;" \
      "install it (on Debian and Ubuntu: apt-get install docker.io), start it and add $(id -un) to the group docker, or run this as root."
  install
  if answers; then return; fi # the package's own service
  echo "Starting a Docker engine, log in $log; '$0 stop' ends it"
  # The caller's files are closed, otherwise whoever waits for them would wait for the engine.
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
  fail "the Docker engine (process $pid) did not stop within 30 s; see $log."
}

case ${1:-start} in
  start) start ;;
  stop) stop ;;
  *) fail "unknown argument '$1'; expected 'start' or 'stop'." ;;
esac
