#!/usr/bin/env bash
# compute-sanitizer of PyPI's wheels starts no program at all before 13.4.92: the helper that would start it is not in the wheel.
#
# The wheel has bin/compute-sanitizer and its libraries, but not TreeLauncherSubreaper, the program through which the tool starts
# what it is to check. It answers --version and --help, so it looks whole. Given any program, it says that the target "terminated
# before first instrumented API call", which reads like a fault of the program, and ends with 255; the program was never started.
#
# Seen: 2026-12-01, nvidia-cuda-sanitizer-api 13.3.75, Linux x86_64. The helper is missing in 13.0.48, 13.0.85, 13.1.118, 13.2.23,
# 13.2.87, 13.3.75, 13.4.57 and in nvidia-cuda-sanitizer-api-cu12 12.9.79 as well; 13.4.92 and 13.5.25 have it, in a folder of its own.
# Matters: CUDA kernels of an extension are checked with it; with cuda-toolkit[sanitizer]==13.0 to 13.3 nothing ever is.
# Instead: compute-sanitizer of NVIDIA's Debian or RPM packages, or a wheel from 13.4.92 on (that one was only looked into here, as
# there was no GPU to check a kernel on).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

"${PYTHON:-python3}" -m venv "$work/venv"
for version in 13.3.75 13.4.92; do
  "$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps --target "$work/$version" \
    "nvidia-cuda-sanitizer-api==$version"
done
helpers() { (cd "$work/$1/nvidia/cu13" && find . -name TreeLauncherSubreaper -not -path '*/x86/*'); }

expect "start helper in 13.3.75" "$(helpers 13.3.75)" ""
expect "start helper in 13.4.92" "$(helpers 13.4.92)" "./compute-sanitizer/TreeLauncherSubreaper"

printf '#!/bin/sh\ntouch "%s/started"\n' "$work" >"$work/program"
chmod +x "$work/program"
"$work/program" && rm "$work/started" # it does run

rc=0
answer=$("$work/13.3.75/nvidia/cu13/bin/compute-sanitizer" "$work/program" 2>&1) || rc=$?
expect "exit status of compute-sanitizer 13.3.75" "$rc" 255
expect "what it says at last" "${answer##*=========}" " Error: couldn't find exit code."
expect "the program was started" "$([ -e "$work/started" ] && echo yes || echo no)" no
