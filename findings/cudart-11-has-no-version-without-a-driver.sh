#!/usr/bin/env bash
# The CUDA 11 runtime does not say which version it is where there is no driver; those of CUDA 12 and 13 do.
#
# cudaRuntimeGetVersion returns a constant of the library, and needs no GPU for it. In libcudart of CUDA 11.8 it fails with 35
# (cudaErrorInsufficientDriver) on a machine without a driver and leaves its argument untouched, though cudaDriverGetVersion of the
# same library succeeds there and answers 0. CUDA 12 and 13 return their version.
#
# Seen: 2026-12-01, nvidia-cuda-runtime-cu11 11.8.89, nvidia-cuda-runtime-cu12 12.0.146 and 12.4.127, nvidia-cuda-runtime 13.0.96, Linux x86_64.
# Matters: a check that asks a runtime for its version while an image is built takes CUDA 11 for broken or absent, or reads an
# argument that nobody has set; and 35 reads as "the driver is too old" where there is none.
# Instead: look at the return value first; read the version from the package's metadata, or from the library's file name.
# Needs: a machine without libcuda.so.1.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

expect() { # WHAT SEEN EXPECTED
  echo "$1: $2"
  [ "$2" = "$3" ] || { echo "changed: $1: \"$2\"; expected \"$3\" as seen on 2026-12-01" >&2 && exit 1; }
}

cat >"$work/ask.py" <<'PYTHON'
import ctypes, sys
try:
    ctypes.CDLL("libcuda.so.1")
    sys.exit("there is a libcuda.so.1 here, with which CUDA 11 answers as well")
except OSError:
    pass
library, version = ctypes.CDLL(sys.argv[1]), ctypes.c_int(-1)
code = library.cudaRuntimeGetVersion(ctypes.byref(version))
print(f"returns {code}, version {version.value};", end=" ")
version.value = -1
code = library.cudaDriverGetVersion(ctypes.byref(version))
print(f"for the driver {code}, version {version.value}")
PYTHON

"${PYTHON:-python3}" -m venv "$work/venv"
python=$work/venv/bin/python
ask() { # REQUIREMENT
  "$python" -m pip --disable-pip-version-check install --quiet --no-deps --target "$work/$1" "$1"
  "$python" "$work/ask.py" "$(find "$work/$1" -name 'libcudart.so.1*')"
}

expect "CUDA 11.8" "$(ask nvidia-cuda-runtime-cu11==11.8.89)" "returns 35, version -1; for the driver 0, version 0"
expect "CUDA 12.0" "$(ask nvidia-cuda-runtime-cu12==12.0.146)" "returns 0, version 12000; for the driver 0, version 0"
expect "CUDA 12.4" "$(ask nvidia-cuda-runtime-cu12==12.4.127)" "returns 0, version 12040; for the driver 0, version 0"
expect "CUDA 13.0" "$(ask nvidia-cuda-runtime==13.0.96)" "returns 0, version 13000; for the driver 0, version 0"
