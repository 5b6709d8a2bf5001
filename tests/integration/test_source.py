"""An extension from an sdist, compiled against the real PyTorch of the main job, with a kernel by the real nvcc."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Run, Site

sys.path.insert(0, str(ROOT / "molecule/pytorch_source/tests"))

from fatbin import list_code

PLAYBOOK = """\
- name: Build
  hosts: local
  gather_facts: false
  roles:
    - role: podsmith.gpu.pytorch_source
"""
# PyTorch's own build tools compile the operator; they take no .cu with a PyTorch for the CPU, so nvcc is called for it.
SETUP = """\
import os, subprocess
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

class Build(BuildExtension):
    def build_extensions(self):
        home, folder = os.environ["CUDA_HOME"], os.path.abspath(self.build_temp)
        os.makedirs(folder, exist_ok=True)
        code = os.environ["TORCH_CUDA_ARCH_LIST"].replace(".", "")
        argv = [f"{home}/bin/nvcc", f"-gencode=arch=compute_{code},code=sm_{code}", "--compiler-options=-fPIC"]
        subprocess.run([*argv, "-c", "kernel.cu", "-o", f"{folder}/kernel.o"], check=True)
        for extension in self.extensions:
            extension.extra_objects = [f"{folder}/kernel.o"]
            extension.extra_link_args = [f"-L{home}/lib", f"-L{home}/lib64", "-lcudart_static", "-ldl", "-lrt"]
        super().build_extensions()

setup(name="scaler", version="0.1", ext_modules=[CppExtension("scaler", ["scaler.cpp"])], cmdclass={"build_ext": Build})
"""
OPERATOR = """\
#include <torch/extension.h>
int launch_scale(float *data, int count, float factor);
at::Tensor scale(const at::Tensor &x, double factor) { return x * factor; }
int launch() { return launch_scale(nullptr, 0, 2.0f); }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("scale", &scale); m.def("launch", &launch); }
"""
KERNEL = """\
__global__ void scale(float *x, int n, float f) { int i = blockIdx.x * blockDim.x + threadIdx.x; if (i < n) x[i] *= f; }
int launch_scale(float *x, int n, float factor) { scale<<<1, 32>>>(x, n, factor); return cudaGetLastError(); }
"""
USE = """
import json, sys, zipfile
zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2]); sys.path.insert(0, sys.argv[2])
import torch, scaler
x = torch.arange(5, dtype=torch.float64)
print(json.dumps([torch.__version__, scaler.scale(x, 3.0).tolist(), scaler.launch()]))
"""


@pytest.fixture(scope="module")
def built(site: Site) -> Run:
    """The live environment with PyTorch: the one that the main job's tests leave, else made here."""
    if not site.current.exists():
        run = site.play("bootstrap.yml", gpu_verify_level="light")
        assert run.rc == 0, run.out
    archive = site.scratch / "scaler-0.1.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name, text in {"setup.py": SETUP, "scaler.cpp": OPERATOR, "kernel.cu": KERNEL}.items():
            entry = tarfile.TarInfo(f"scaler-0.1/{name}")
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text.encode()))
    playbook = site.scratch / "source.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    python = (site.current / "bin/python").resolve()
    build: dict[str, Any] = {
        "name": "scaler",
        "version": "0.1",
        "origin": {
            "kind": "archive",
            "url": archive.as_uri(),
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        },
        "environment": {"TORCH_CUDA_ARCH_LIST": "12.0", "CFLAGS": "-O0"},
        "torch": "the main job's",
        "python": {"path": str(python)},
        "cuda_home": str(next(site.prefix.glob("toolkits/13.0/**/bin/nvcc")).parents[1]),
        "jobs": 2,
    }
    return site.play(
        str(playbook),
        pytorch_source_builds=[build],
        pytorch_source_prefix=str(site.prefix),
        pytorch_source_site_packages=str(next(site.current.resolve().glob("lib/python*/site-packages"))),
        pytorch_source_store_dir=str(site.scratch / "wheelhouse"),
    )


def test_it_is_built_against_the_pytorch_that_is_there(site: Site, built: Run) -> None:
    assert built.rc == 0, built.out
    assert "the build of scaler 0.1 started" in built.out
    [record] = [json.loads(path.read_text(encoding="utf-8")) for path in site.prefix.glob("wheels/*/build.json")]
    log = (site.prefix / "wheels" / record["key"] / "build.log").read_text(encoding="utf-8")
    assert f"{site.current.resolve()}/lib" in log  # PyTorch's headers
    assert not list(site.prefix.glob("builds/*"))


def test_it_works_in_the_environment(site: Site, built: Run) -> None:
    wheel = next(site.prefix.glob("wheels/*/scaler-0.1-*.whl"))
    done = site.sh(f"{site.current}/bin/python -c '{USE}' {wheel} {site.scratch}/unpacked")
    assert done.returncode == 0, done.stderr
    torch, scaled, code = json.loads(done.stdout)
    assert torch.startswith("2.")
    assert scaled == [0.0, 3.0, 6.0, 9.0, 12.0]
    assert isinstance(code, int)  # what CUDA says to a launch: there need be no GPU of that kind


def test_its_kernel_is_for_the_wished_gpu_alone_and_the_controller_has_a_copy(site: Site, built: Run) -> None:
    copy = next((site.scratch / "wheelhouse").glob("*/scaler-0.1-*.whl"))
    with zipfile.ZipFile(copy) as wheel:
        library = next(name for name in wheel.namelist() if Path(name).suffix == ".so")
        assert list_code(wheel.read(library)) == ["sm_120"]
