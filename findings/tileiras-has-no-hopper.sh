#!/usr/bin/env bash
# CUDA Tile's assembler of CUDA 13.2 takes GPUs older and newer than Hopper, but not Hopper.
#
# tileiras of 13.1 compiles for Blackwell alone; 13.2 adds Ampere and Ada (sm_80 to sm_89) and still has no sm_90, though H100 and
# H200 lie between what it takes. 13.3 is the first with sm_90. nvcc of 13.2 compiles for sm_90, so its list of GPUs does not tell.
#
# Seen: 2026-12-01, nvidia-cuda-tileiras 13.2.86 and 13.3.36 (the same gap in 13.2.51; 13.1.80 has 100 103 110 120 121), Linux x86_64.
# Matters: PyTorch 2.15 comes with the toolkit 13.2.2, and cuda-tile 1.7.0 accepts 13.2 (cuda-toolkit[tileiras]>=13.2,<13.5): beside
# that PyTorch pip has to choose the assembler that cannot compile for H100 and H200.
# Instead: tileiras of 13.3 or newer on Hopper; ask `tileiras --help` for its GPUs, not nvcc.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

"${PYTHON:-python3}" -m venv "$work/venv"
for version in 13.2.86 13.3.36; do
  "$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --target "$work/$version" \
    "nvidia-cuda-tileiras==$version"
done
gpus() { "$work/$1/nvidia/cu13/bin/tileiras" --help | grep -oE '=sm_[0-9]+' | tr -dc '0-9\n' | paste -s -d ' '; }

expect "GPUs of tileiras 13.2.86" "$(gpus 13.2.86)" "80 86 87 88 89 100 103 110 120 121"
expect "GPUs of tileiras 13.3.36" "$(gpus 13.3.36)" "80 86 87 88 89 90 100 103 110 120 121"

rc=0
answer=$("$work/13.2.86/nvidia/cu13/bin/tileiras" --gpu-name=sm_90 /dev/null 2>&1) || rc=$?
expect "exit status of tileiras 13.2.86 --gpu-name=sm_90" "$rc" 1
expect "what it says" "${answer##*tileiras: }" "for the --gpu-name option: Cannot find option named 'sm_90'!"
