#!/usr/bin/env bash
# pip's --target keeps the files of one CUDA wheel only, and says that it installed them all.
#
# All of NVIDIA's CUDA 13 wheels put their files into one folder, nvidia/cu13. `pip install --target FOLDER` treats that shared
# folder as one thing: a second call leaves it as it is, so the new wheel's files are missing, or with --upgrade replaces it whole,
# so the files of every earlier wheel are gone. Exit status 0 both times, and `pip list` shows both packages as installed; a warning
# (without --upgrade) or nothing at all (with it) tells of it.
#
# Seen: 2026-12-01, pip 26.3, nvidia-cuda-crt 13.5.37 (25 files), nvidia-cuda-cuobjdump 13.5.37 (1 file), uv 0.13.9, Linux x86_64.
# Matters: whoever fills a folder for an image, an offline bundle or PYTHONPATH step by step gets a toolkit or a PyTorch with holes.
# Instead: name all packages in one call, use a virtual environment or --prefix, or `uv pip install --target`, which merges.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

"${PYTHON:-python3}" -m venv "$work/venv"
bin=$work/venv/bin
"$bin/python" -m pip install --quiet pip==26.3 uv==0.13.9
"$bin/pip" download --quiet --no-deps --dest "$work/wheels" nvidia-cuda-crt==13.5.37 nvidia-cuda-cuobjdump==13.5.37

from_wheels=(--quiet --no-deps --no-index --find-links "$work/wheels" --target)
files() { find "$work/$1/nvidia" -type f | wc -l; }
listed() { "$bin/pip" list --path "$work/$1" --format freeze | tr '\n' ' '; }

"$bin/pip" install "${from_wheels[@]}" "$work/kept" nvidia-cuda-crt
expect "files after the first wheel" "$(files kept)" 25
"$bin/pip" install "${from_wheels[@]}" "$work/kept" nvidia-cuda-cuobjdump
expect "files after the second wheel" "$(files kept)" 25
expect "packages as pip lists them" "$(listed kept)" "nvidia-cuda-crt==13.5.37 nvidia-cuda-cuobjdump==13.5.37 "

"$bin/pip" install "${from_wheels[@]}" "$work/replaced" nvidia-cuda-crt
"$bin/pip" install --upgrade "${from_wheels[@]}" "$work/replaced" nvidia-cuda-cuobjdump
expect "files after the second wheel with --upgrade" "$(files replaced)" 1
expect "packages as pip lists them" "$(listed replaced)" "nvidia-cuda-crt==13.5.37 nvidia-cuda-cuobjdump==13.5.37 "

"$bin/pip" install "${from_wheels[@]}" "$work/together" nvidia-cuda-crt nvidia-cuda-cuobjdump
expect "files of both in one call" "$(files together)" 26
for package in nvidia-cuda-crt nvidia-cuda-cuobjdump; do
  "$bin/uv" pip install --no-config --python "$bin/python" "${from_wheels[@]}" "$work/merged" "$package"
done
expect "files of both by uv in two calls" "$(files merged)" 26
