#!/bin/sh
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# What the stand-ins of NVIDIA's driver packages do to a simulated machine that is no container: they change its disk, and the kernel
# follows at the next boot. /etc/simulated-driver.conf says what the kernel and the libraries are, /var/lib/simulated-disk what lies
# on the disk.
#   simulated-disk library VERSION             the libraries are of VERSION; of another one than the kernel's driver is a mismatch
#   simulated-disk module VERSION FLAVOR CUDA  DKMS has built this module for the running kernel
#   simulated-disk removed library|module      it is gone; what the kernel has loaded stays until the next boot
#   simulated-disk boot                        the machine starts again: the kernel loads what the disk has
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin # a maintainer script's is another

conf=/etc/simulated-driver.conf
disk=/var/lib/simulated-disk # a file each: library, module ("VERSION FLAVOR CUDA")
dkms=/var/lib/dkms/nvidia

value() { sed -n "s/^$1 *//p" "$conf"; }

# Writes the file anew without some words, then adds lines.
rewrite() { # WORDS LINE ...
  words=$1
  shift
  grep -Ev "^($words) " "$conf" >"$conf.new" || :
  for line in "$@"; do echo "$line" >>"$conf.new"; done
  mv "$conf.new" "$conf"
}

# The libraries beside the driver that is loaded.
settle() {
  loaded=$(value driver) library=$(cat "$disk/library" 2>/dev/null || :)
  if [ -z "$loaded" ] || [ "$loaded" = "$library" ]; then
    rewrite 'library|fault'
  elif [ -z "$library" ]; then
    rewrite 'library|fault' 'fault absent'
  else
    rewrite 'library|fault' 'fault mismatch' "library $library"
  fi
  simulated-driver
}

grep -q '^machine bare_metal' "$conf" || exit 0 # a container that somebody installs a driver in
mkdir -p "$disk"
case $1 in
  library)
    echo "$2" >"$disk/library"
    settle
    ;;
  module)
    echo "$2 $3 $4" >"$disk/module"
    rm -rf "$dkms"
    mkdir -p "$dkms/$2/$(cat /proc/sys/kernel/osrelease)/$(uname -m)/module"
    ;;
  removed)
    rm -f "$disk/$2"
    if [ "$2" = module ]; then rm -rf "$dkms"; else settle; fi
    ;;
  boot)
    if read -r version flavor cuda 2>/dev/null <"$disk/module"; then
      rewrite 'driver|flavor|cuda' "driver $version" "flavor $flavor" "cuda $cuda"
    else
      rewrite 'driver|flavor|cuda'
    fi
    cat /proc/sys/kernel/random/uuid >/var/lib/simulated-boot-id
    settle
    ;;
esac
