# SPDX-License-Identifier: GPL-3.0-or-later
"""Covariances of Gaussians by gsplat's CUDA code, against plain PyTorch in double precision. Prints JSON."""

import json
import os
import pathlib
import re
import subprocess
import sys

import gsplat
import torch
from gsplat import csrc

SHOWN = re.compile(r"sm_\d+a?")

torch.manual_seed(0)
quats = torch.nn.functional.normalize(torch.randn(100_000, 4, device="cuda"), dim=-1)
scales = torch.rand(100_000, 3, device="cuda") + 0.1

covars, _precis = gsplat.quat_scale_to_covar_preci(quats, scales, compute_preci=False)

w, x, y, z = quats.double().unbind(-1)
rotation = torch.stack(
    [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ],
    dim=-1,
).reshape(-1, 3, 3)  # fmt: skip
half = rotation * scales.double().unsqueeze(-2)
wanted = half @ half.transpose(-1, -2)

listed = subprocess.run(
    [pathlib.Path(os.environ["CUDA_HOME"], "bin", "cuobjdump"), "--list-elf", csrc.__file__],
    capture_output=True,
    text=True,
    check=True,
).stdout
json.dump(
    {
        "version": gsplat.__version__,
        "device": torch.cuda.get_device_name(),
        "capability": "sm_{}{}".format(*torch.cuda.get_device_capability()),
        "largest_error": float((covars.double() - wanted).abs().max()),
        "machine_code": sorted(set(SHOWN.findall(listed))),
        "file": csrc.__file__,
    },
    sys.stdout,
)
