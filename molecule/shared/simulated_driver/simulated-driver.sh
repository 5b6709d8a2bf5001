#!/bin/sh
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes this container look as /etc/simulated-driver.conf says: libraries, nvidia-smi, device nodes, /proc and /sys. What a
# former run made goes first, so that the file alone decides. Needs root and CAP_SYS_ADMIN, for the mounts. With
# $SIMULATED_DRIVER_ROOT it writes below that folder instead and needs neither: plain files stand for mounts and nodes.
set -eu

root=${SIMULATED_DRIVER_ROOT:-}
conf=${SIMULATED_DRIVER_CONF:-$root/etc/simulated-driver.conf}
here=$(cd "$(dirname "$0")" && pwd)
built=${here%/*}/lib/simulated-driver # what build.sh compiled
state=$root/var/lib/simulated-driver  # what stands behind the mounts, and the list of what was made
made=$state/made
system_dir=/usr/lib/$(uname -m)-linux-gnu
wsl_dir=/usr/lib/wsl/lib
wsl_kernel=5.15.167.4-microsoft-standard-WSL2

fail() {
  echo "simulated-driver: $*" >&2
  exit 1
}

check() { # WORD VALUE CHOICE ...
  word=$1 found=$2
  shift 2
  for choice in "$@"; do
    if [ "$choice" = "$found" ]; then return 0; fi
  done
  fail "$conf: found $word $found, wanted one of: $*"
}

# Puts the values of the file into shell variables; gpus gets a line with the name of each GPU, xids one with each "CODE INDEX".
# What CUDA and NVML answer (cuinit, shown, slices, virtual, compute_mode) is for the libraries alone.
read_conf() {
  driver='' cuda='' library='' flavor=open wsl2=no fault=none machine=container library_dir=$system_dir gpus='' xids=''
  [ -e "$conf" ] || return 0
  while read -r word value; do
    value=$(printf '%s' "${value%%#*}" | sed 's/[[:space:]]*$//')
    case $word in
      '' | '#'*) ;;
      driver) driver=$value ;;
      cuda) cuda=$value ;;
      library) library=$value ;;
      flavor) flavor=$value ;;
      wsl2) wsl2=$value ;;
      fault) fault=$value ;;
      machine) machine=$value ;;
      folder) library_dir=$value ;;
      cuinit | shown | slices | virtual | compute_mode) ;;
      xid)
        case $value in [1-9]*' '[0-9]) ;; *) fail "$conf: found xid $value, wanted its code and the index of a GPU" ;; esac
        xids="$xids$value
"
        ;;
      gpu) gpus="$gpus$(echo "$value" | cut -d' ' -f5-)
" ;;
      *) fail "$conf: found the word \"$word\", wanted driver, cuda, flavor, wsl2, fault, library, machine, folder, cuinit, shown, slices, virtual, compute_mode, xid or gpu" ;;
    esac
  done <"$conf"
  check flavor "$flavor" open proprietary
  check wsl2 "$wsl2" yes no
  check fault "$fault" none hang mismatch lost absent
  check machine "$machine" container bare_metal
  if [ -n "$driver" ] && [ -z "$cuda" ]; then fail "$conf: driver $driver without its CUDA level; add a line \"cuda …\""; fi
  if [ "$fault" != mismatch ] || [ -z "$library" ]; then library=$driver; fi
}

# Takes away what the last run made. A container that was started anew has lost its mounts and nodes already.
remove_former() {
  for point in /proc/sys/kernel/osrelease /proc/sys/kernel/random/boot_id /proc/version /proc/cpuinfo /proc/1/cgroup /proc/driver /sys/module; do
    while [ -z "$root" ] && grep -q " $state/[^ ]* $point " /proc/self/mountinfo; do umount --lazy "$point"; done
  done
  if [ -e "$made" ]; then
    while read -r path; do rm -rf "$path"; done <"$made"
  fi
  rm -rf "$state"
  mkdir -p "$state"
}

# Notes that a path is ours. What somebody else put there is not overwritten.
claim() {
  if [ -e "$root$1" ] || [ -L "$root$1" ]; then
    fail "$1 is there already, from somebody else: take an image without a driver, or remove it"
  fi
  mkdir -p "$root$(dirname "$1")"
  echo "$root$1" >>"$made"
}

place() { # FILE TARGET
  claim "$2"
  cp "$built/$1" "$root$2"
}

link() { # TARGET NAME
  claim "$2"
  ln -s "$1" "$root$2"
}

node() { # PATH MAJOR MINOR
  claim "$1"
  if [ -n "$root" ]; then
    : >"$root$1"
  else
    mknod -m 666 "$1" c "$2" "$3"
  fi
}

over() { # SOURCE POINT
  if [ -n "$root" ]; then
    claim "$2"
    cp -r "$1" "$root$2"
    return 0
  fi
  mount --bind "$1" "$2" || fail "cannot mount over $2: start the container with --cap-add SYS_ADMIN," \
    "and with --security-opt apparmor=unconfined where the host has AppArmor"
}

pci_address() { # INDEX
  printf '0000:00:%02x.0' "$((6 + $1))"
}

# Another folder than the system's is one that the loader is not told of; nvidia-smi then lies beside it.
inject_libraries() {
  for name in libcuda libnvidia-ml libnvidia-ptxjitcompiler; do
    place "$name.so" "$library_dir/$name.so.$library"
    link "$name.so.$library" "$library_dir/$name.so.1"
  done
  link libcuda.so.1 "$library_dir/libcuda.so"
  case $library_dir in
    "$system_dir") place nvidia-smi /usr/bin/nvidia-smi ;;
    *) place nvidia-smi "${library_dir%/*}/bin/nvidia-smi" ;;
  esac
}

# Windows' folder holds plain files under all names, without a version.
inject_wsl_libraries() {
  for name in libcuda.so libcuda.so.1 libcuda.so.1.1; do place libcuda.so "$wsl_dir/$name"; done
  place libnvidia-ml.so "$wsl_dir/libnvidia-ml.so.1"
  place nvidia-smi "$wsl_dir/nvidia-smi"
  claim /etc/ld.so.conf.d/ld.wsl.conf
  echo "$wsl_dir" >"$root/etc/ld.so.conf.d/ld.wsl.conf"
}

inject_nodes() {
  index=0
  printf '%s' "$gpus" | while read -r _name; do
    node "/dev/nvidia$index" 195 "$index"
    index=$((index + 1))
  done
  node /dev/nvidiactl 195 255
  node /dev/nvidia-uvm 511 0
}

# The kernel's log, which a container has no device for: a plain file, in the form of the device's records.
inject_log() {
  claim /dev/kmsg
  printf '%s' "$xids" | while read -r code index; do
    printf '4,1000,5000000,-;NVRM: Xid (PCI:%s): %s, pid=4711, name=python\n' "$(pci_address "$index" | cut -d. -f1)" "$code"
  done >"$root/dev/kmsg"
}

describe_module() {
  case $flavor in
    open) echo "NVRM version: NVIDIA UNIX Open Kernel Module for $(uname -m)  $driver  Release Build  (simulated@)  " ;;
    proprietary) echo "NVRM version: NVIDIA UNIX $(uname -m) Kernel Module  $driver  Thu Jan  1 00:00:00 UTC 1970" ;;
  esac
  echo 'GCC version:  gcc version 12.2.0 (GCC) '
}

describe_gpu() { # INDEX NAME
  printf 'Model: \t\t %s\n' "$2"
  printf 'GPU UUID: \t GPU-00000000-0000-0000-0000-%012x\n' "$1"
  printf 'Bus Type: \t PCIe\n'
  printf 'Bus Location: \t %s\n' "$(pci_address "$1")"
  printf 'Device Minor: \t %s\n' "$1"
  printf 'GPU Excluded:\t No\n'
}

# /proc and /sys are the kernel's, not the container's: a container that got no GPU sees the driver there, too.
inject_kernel() {
  mkdir -p "$state/module/nvidia" "$state/driver/nvidia/gpus"
  echo "$driver" >"$state/module/nvidia/version"
  describe_module >"$state/driver/nvidia/version"
  index=0
  printf '%s' "$gpus" | while read -r name; do
    folder=$state/driver/nvidia/gpus/$(pci_address "$index")
    mkdir "$folder"
    describe_gpu "$index" "$name" >"$folder/information"
    index=$((index + 1))
  done
  over "$state/module" /sys/module
  over "$state/driver" /proc/driver
}

inject_wsl_kernel() {
  echo "$wsl_kernel" >"$state/osrelease"
  echo "Linux version $wsl_kernel (root@simulated) (gcc (GCC) 11.2.0, GNU ld (GNU Binutils) 2.37) #1 SMP" >"$state/version"
  over "$state/osrelease" /proc/sys/kernel/osrelease
  over "$state/version" /proc/version
}

# What tells a container from a machine of its own, and a virtual machine from a real one. This alone is for scenarios about machines
# that people own; what the host of all these containers is does not show through.
inject_machine() {
  rm -f "$root/.dockerenv"
  echo '0::/init.scope' >"$state/cgroup"
  sed 's/ hypervisor\b//g' /proc/cpuinfo >"$state/cpuinfo"
  [ -e "$root/var/lib/simulated-boot-id" ] || cat /proc/sys/kernel/random/uuid >"$root/var/lib/simulated-boot-id"
  cp "$root/var/lib/simulated-boot-id" "$state/boot_id"
  over "$state/cgroup" /proc/1/cgroup
  over "$state/cpuinfo" /proc/cpuinfo
  over "$state/boot_id" /proc/sys/kernel/random/boot_id
}

# A container's entry point and whoever changes its driver at that moment work one after the other.
if [ -z "$root" ]; then
  exec 9>/run/simulated-driver.lock
  flock 9
fi
read_conf
remove_former
if [ "$machine" = bare_metal ]; then inject_machine; fi
if [ "$wsl2" = yes ]; then
  inject_wsl_kernel
  if [ -n "$driver" ] && [ "$fault" != absent ]; then
    inject_wsl_libraries
    node /dev/dxg 10 125
  fi
elif [ -n "$driver" ]; then
  inject_kernel
  if [ -n "$xids" ]; then inject_log; fi
  if [ "$fault" != absent ]; then
    inject_libraries
    inject_nodes
  fi
fi
if [ -z "$root" ]; then ldconfig; fi
