#!/bin/sh
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# `shutdown -r` of a simulated machine that is no container: connections break, then the machine is there again with another boot id
# and the driver that its disk has. The container itself goes on.
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
[ "${1:-}" = -r ] || {
  echo "shutdown: only -r is simulated" >&2
  exit 1
}
grep -q '^machine bare_metal' /etc/simulated-driver.conf || {
  echo "shutdown: this is a container, which cannot restart its host" >&2
  exit 1
}
trap '' HUP # of the terminal that goes away with this command
# shellcheck disable=SC2016 # the new shell's own
setsid sh -c 'sleep 0.5; pkill -P "$(pgrep -o -x sshd)"; simulated-disk boot' >/var/log/simulated-boot.log 2>&1 </dev/null &
