#!/usr/bin/env bash
# nvcc never writes the same object file twice, not even with --frandom-seed, which its help gives as the way to identical objects.
#
# nvcc compiles through a temporary file named after its own process id, and the host compiler records that name in the object's symbol
# table (a FILE symbol, tmpxft_<process id in hex>_…). The code is the same each time; the bytes are not, with or without
# --frandom-seed. Device code alone (--cubin) does repeat.
#
# Seen: 2026-12-01, nvcc 13.5.37 with nvvm, crt and runtime of the same release (also 13.0.88), g++ 12.2 of Debian 12, Linux x86_64.
# Matters: an extension compiled from source (flash-attn and its like) has another checksum each time, so a hash-pinned lock of own
# wheels, a check of a rebuild, or a cache keyed by the linked file never matches.
# Instead: --keep --keep-dir FOLDER gives the temporary files fixed names, and the object repeats; or compare after `strip`.
# Needs: g++ and binutils (readelf, strip) on this machine; about 100 MB to download.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps \
  nvidia-cuda-nvcc==13.5.37 nvidia-nvvm==13.5.37 nvidia-cuda-crt==13.5.37 nvidia-cuda-runtime==13.5.37
nvcc=$(echo "$work"/venv/lib/python3.*/site-packages/nvidia/cu13/bin/nvcc)
mkdir "$work/kept"
cd "$work"
echo '__global__ void twice(float *x) { x[threadIdx.x] *= 2; }' >kernel.cu

compile() { env -u NVCC_APPEND_FLAGS -u NVCC_PREPEND_FLAGS "$nvcc" -arch=sm_90 kernel.cu "$@"; }
compared() { if cmp -s "$1" "$2"; then echo same; else echo different; fi; }

compile -c -o a.o
compile -c -o b.o
expect "two objects" "$(compared a.o b.o)" different
names=$(readelf --symbols --wide a.o b.o | grep -oE 'tmpxft_[0-9a-f]+_.*' | sort -u | sed -E 's/_[0-9a-f]+_/_<process>_/' | paste -s -d ' ')
expect "names of the source in them" "$names" \
  "tmpxft_<process>_00000000-6_kernel.cudafe1.cpp tmpxft_<process>_00000000-6_kernel.cudafe1.cpp"

compile --frandom-seed 7 -c -o seeded-a.o
compile --frandom-seed 7 -c -o seeded-b.o
expect "two objects with --frandom-seed" "$(compared seeded-a.o seeded-b.o)" different

compile --keep --keep-dir kept -c -o kept-a.o
compile --keep --keep-dir kept -c -o kept-b.o
expect "two objects with --keep" "$(compared kept-a.o kept-b.o)" same
compile --cubin -o a.cubin
compile --cubin -o b.cubin
expect "two cubins" "$(compared a.cubin b.cubin)" same
strip a.o b.o
expect "the first two objects, stripped" "$(compared a.o b.o)" same
