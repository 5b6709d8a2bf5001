# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small CUDA extension, built as the large ones are: ninja calls nvcc for the GPUs of TORCH_CUDA_ARCH_LIST."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
SOURCES = ["src/module.cpp", *sorted(str(path.relative_to(HERE)) for path in HERE.glob("kernels/*.cu"))]
RULES = """
rule nvcc
  command = {home}/bin/nvcc {code} -O2 --compiler-options=-fPIC -c $in -o $out
rule cxx
  command = c++ -O2 -fPIC -I{python} -c $in -o $out
rule link
  command = c++ -shared -o $out $in -L{home}/lib -L{home}/targets/x86_64-linux/lib -lcudart_static -ldl -lrt -lpthread
"""


def code(architectures: str) -> str:
    """nvcc's options for ``9.0a;12.0``."""
    names = [word.replace(".", "") for word in architectures.split(";")]
    return " ".join(f"-gencode=arch=compute_{name},code=sm_{name}" for name in names)


class Ninja(build_ext):
    """Compile by ninja, whose folder stays: what is there already is not compiled again."""

    def build_extension(self, ext: Extension) -> None:
        """Write the rules and follow them."""
        if len(SOURCES) == 1:
            raise SystemExit("fatal error: kernels/scale.cu: No such file: the submodule kernels is missing")
        folder, target = Path(self.build_temp).resolve(), Path(self.get_ext_fullpath(ext.name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        architectures = code(os.environ["TORCH_CUDA_ARCH_LIST"])
        text = RULES.format(home=os.environ["CUDA_HOME"], code=architectures, python=sysconfig.get_paths()["include"])
        objects = []
        for source in SOURCES:
            objects.append(f"{Path(source).stem}.o")
            text += f"build {objects[-1]}: {'nvcc' if source.endswith('.cu') else 'cxx'} {HERE / source}\n"
        text += f"build {target}: link {' '.join(objects)}\n"
        (folder / "build.ninja").write_text(text, encoding="utf-8")
        subprocess.run(["ninja", "-C", str(folder), "-v", "-j", os.environ.get("MAX_JOBS", "1")], check=True)


setup(
    name="podsmith-kernels",
    version="1.0",
    ext_modules=[Extension("podsmith_kernels", SOURCES)],
    cmdclass={"build_ext": Ninja},
)
