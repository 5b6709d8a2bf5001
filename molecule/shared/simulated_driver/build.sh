#!/bin/sh
# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
# Compiles the simulated driver. Needs gcc and the C library's headers.
#   build.sh install PREFIX
#       PREFIX/lib/simulated-driver/{libcuda.so,libnvidia-ml.so,libnvidia-ptxjitcompiler.so,nvidia-smi,stubs/libcuda.so},
#       PREFIX/sbin/{simulated-driver,simulated-disk,shutdown}
#   build.sh compat FOLDER VERSION CUDA BRANCHES BRANDS
#       the libraries of a cuda-compat package, e.g. compat OUT 580.95.05 13.0 535,550,565 1,2,14; the lists go into the ELF
#       note, "-" leaves one out
set -eu

source=$(cd "$(dirname "$0")" && pwd)

compile() {
  gcc -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -O2 -fPIC -fvisibility=hidden "$@"
}

# shared SONAME SOURCE OUTPUT [define ...]
shared() {
  soname=$1 input=$2 output=$3
  shift 3
  compile -shared -Wl,-soname,"$soname" "$@" "$source/$input" -o "$output"
}

install_driver() {
  mkdir -p "$1/lib/simulated-driver/stubs" "$1/sbin"
  shared libcuda.so.1 libcuda.c "$1/lib/simulated-driver/libcuda.so"
  shared libnvidia-ml.so.1 libnvidia_ml.c "$1/lib/simulated-driver/libnvidia-ml.so"
  shared libnvidia-ptxjitcompiler.so.1 libnvidia_ptxjitcompiler.c "$1/lib/simulated-driver/libnvidia-ptxjitcompiler.so"
  shared libcuda.so.1 libcuda_stub.c "$1/lib/simulated-driver/stubs/libcuda.so"
  compile "$source/nvidia_smi.c" -o "$1/lib/simulated-driver/nvidia-smi"
  for name in simulated-driver simulated-disk shutdown; do install -m 755 "$source/$name.sh" "$1/sbin/$name"; done
}

install_compat() {
  folder=$1 version=$2 cuda=$3 branches=$4 brands=$5
  lists=
  if [ "$branches" != - ]; then lists=",\\\"driver\\\":[$branches]"; fi
  if [ "$brands" != - ]; then lists="$lists,\\\"device\\\":[$brands]"; fi
  mkdir -p "$folder"
  shared libcuda.so.1 libcuda.c "$folder/libcuda.so.$version" -DCOMPAT_VERSION="\"$version\"" -DCOMPAT_CUDA="\"$cuda\"" \
    -DCOMPAT_NOTE="\"{\\\"format\\\":1,\\\"CUDA version\\\":\\\"$cuda\\\"$lists}\""
  shared libnvidia-ptxjitcompiler.so.1 libnvidia_ptxjitcompiler.c "$folder/libnvidia-ptxjitcompiler.so.$version"
  ln -sf "libcuda.so.$version" "$folder/libcuda.so.1"
  ln -sf libcuda.so.1 "$folder/libcuda.so"
  ln -sf "libnvidia-ptxjitcompiler.so.$version" "$folder/libnvidia-ptxjitcompiler.so.1"
}

case "$#:${1-}" in
  2:install) install_driver "$2" ;;
  6:compat) install_compat "$2" "$3" "$4" "$5" "$6" ;;
  *) sed -n 's/^#   \(build.sh .*\)/usage: \1/p' "$0" >&2; exit 2 ;;
esac
