# ruff: noqa: T201
"""Say in one line what this host's driver means for the image, and write it as JSON.

Usage: check.py IMAGE.JSON RESULT.JSON. Runs with the activation: LD_LIBRARY_PATH is what a shell here gets. Exit
status 1: the image does not run on this host.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from pathlib import Path
from typing import Any


def read_driver(sysroot: str = "") -> str | None:
    """The version of the kernel driver."""
    for name, form in (
        ("sys/module/nvidia/version", r"^([0-9.]+)$"),
        ("proc/driver/nvidia/version", r"^NVRM version:.*?  ([0-9.]+) "),
    ):
        try:
            found = re.search(form, Path(sysroot or "/", name).read_text(encoding="utf-8"), re.MULTILINE)
        except OSError:
            continue
        if found:
            return found[1]
    return None


def read_models(sysroot: str = "") -> list[str]:
    """The GPUs' names as the kernel driver reports them."""
    found = []
    for path in sorted(Path(sysroot or "/", "proc/driver/nvidia/gpus").glob("*/information")):
        line = path.read_text(encoding="utf-8").split("\n", 1)[0]
        found.append(line.partition(":")[2].strip())
    return found


def init_cuda() -> tuple[int | None, int]:
    """What ``cuInit`` answers and how many GPUs there are; None: there is no libcuda."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, 0
    code, count = int(library.cuInit(0)), ctypes.c_int(0)
    if code == 0:
        library.cuDeviceGetCount(ctypes.byref(count))
    return code, count.value


def is_consumer(model: str) -> bool:
    """Whether forward compatibility is not for this GPU."""
    return "geforce" in model.lower() or "titan" in model.lower()


def judge(
    image: dict[str, Any], driver: str | None, models: list[str], active: bool, code: int | None, gpus: int
) -> dict[str, Any]:
    """The verdict: ``ok``, ``cpu`` or ``failed``, how CUDA runs, and the line that a person reads."""
    cuda, package, least = image["cuda"], image["package"], image["least_driver"]
    told = {"driver": driver, "gpus": gpus, "models": models, "compat": active, "code": code}
    if driver is None:
        text = (
            "no NVIDIA driver in this container: PyTorch runs on the CPU. Start it with --gpus all if the host has one."
        )
        return {**told, "verdict": "cpu", "route": "cpu", "text": text}
    branch = int(driver.split(".")[0])
    host = f"driver {driver}" + (f", {models[0]}" if models else "")
    old = branch < int(least.split(".")[0])
    if old and not active:
        because = f"it is too old for CUDA {cuda}"
        consumers = list(filter(is_consumer, models))
        if package and consumers:
            which = "this GPU" if len(consumers) == len(models) else f"the {consumers[0]} in this host"
            because += f", and {package} does not support {which}"
        elif package and branch not in image["branches"]:
            because += f", and {package} supports the branches {', '.join(map(str, image['branches']))}"
        text = f"{host}: {because}; use a host with driver {least} or newer."
        return {**told, "verdict": "failed", "route": "none", "text": text}
    if code is None:
        text = f"{host}: there is no libcuda.so.1. Start the container with --gpus all."
        return {**told, "verdict": "failed", "route": "none", "text": text}
    if code:
        row = image["errors"].get(str(code), {"name": f"error {code}", "cause": "cuInit failed", "remedy": ""})
        text = f"{host}: {row['name']} ({code}): {row['cause']} {row['remedy']}".strip()
        return {**told, "verdict": "failed", "route": "none", "text": text}
    route = "forward_compat" if active else "driver"
    how = f"by {package}, as long as the driver is older" if active else "by the driver itself"
    off = f"; {package} stays off" if package and not active else ""
    return {**told, "verdict": "ok", "route": route, "text": f"{host}: CUDA {cuda} {how}{off}."}


def main(image_path: str, result_path: str) -> int:
    """Exit status: 0, or 1 where the image does not run here."""
    image = json.loads(Path(image_path).read_text(encoding="utf-8"))
    first = os.environ.get("LD_LIBRARY_PATH", "").split(":")[0]
    driver = read_driver()
    code, gpus = init_cuda() if driver else (None, 0)
    verdict = judge(image, driver, read_models(), bool(first) and first == image["compat"], code, gpus)
    Path(result_path).write_text(json.dumps(verdict, indent=2) + "\n", encoding="utf-8")
    print(f"podsmith: {verdict['text']}", flush=True)
    return 1 if verdict["verdict"] == "failed" else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
