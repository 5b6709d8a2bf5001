#!/bin/sh
# torchcodec's wheels on PyPI for x86_64 change what they are built for within one minor release: 0.11.0 asks for the
# libraries of CUDA 13 and for PyTorch's own for CUDA, 0.11.1 for neither, and 0.14.0 asks again. Their METADATA names
# no requirement, neither torch nor any package of CUDA, so that every installer and its check is content with all.
#
# Seen: 2026-12-01, torchcodec 0.11.0, 0.11.1, 0.13.0, 0.14.0 for CPython 3.12 on manylinux_2_28_x86_64.
# Matters: whoever pins torchcodec beside a PyTorch for the CPU or for CUDA 12: one patch release decodes on the CPU,
#   the next cannot be loaded, and only an import shows it.
# Instead: name the build: torchcodec==0.14.0+cpu, +cu126 or +cu130 of https://download.pytorch.org/whl/<that name>.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv "$work/venv"
for version in 0.11.0 0.11.1 0.13.0 0.14.0; do
    "$work/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps --only-binary :all: --python-version 3.12 \
        --platform manylinux_2_28_x86_64 --dest "$work/$version" "torchcodec==$version"
done
"$work/venv/bin/python" - "$work" <<'END'
import pathlib
import re
import sys
import zipfile

expected = {"0.11.0": ["libcudart.so.13", "libtorch_cuda.so"], "0.11.1": [], "0.13.0": []}
expected["0.14.0"] = expected["0.11.0"]
changed = False
for version, wanted in expected.items():
    (wheel,) = pathlib.Path(sys.argv[1], version).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"torchcodec-{version}.dist-info/METADATA").decode().partition("\n\n")[0]
        library = archive.read("torchcodec/libtorchcodec_core7.so")
    required = [line for line in re.findall(r"^Requires-Dist: .*", metadata, re.MULTILINE) if "extra ==" not in line]
    found = sorted({name.decode() for name in re.findall(rb"libcudart\.so\.\d+|libtorch_cuda\.so", library)})
    print(f"{version}: requires {required or 'nothing'}; its library needs {found or 'no CUDA'}")
    if required or found != wanted:
        print(f"changed: expected no requirement and {wanted or 'no CUDA'}")
        changed = True
sys.exit(changed)
END
