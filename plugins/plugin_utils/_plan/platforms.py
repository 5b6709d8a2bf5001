# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform that is no ordinary server forbids, and where its own packages are: Jetson, and systems with musl."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.builds import Build, matches
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.jetson import Jetson
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal

MUSL, GLIBC = "musl", "glibc"
ADOPT, AUTO = "adopt", "auto"
NVIDIAS_PYTORCH = "https://docs.nvidia.com/deeplearning/frameworks/install-pytorch-jetson-platform/"


def without_glibc(case: Case) -> Refusal | None:
    """A system whose C library is musl: nothing that NVIDIA or PyTorch publish runs there, nor the driver's libraries.

    Source: PEP 656 (a manylinux wheel needs glibc); PyTorch and NVIDIA publish no musllinux wheels.
    """
    host, request = case.host, case.request
    if request.pytorch == "none" and request.cuda == "none":
        return None
    row = case.known["platforms"]["musl"].get(host.os_id or "")
    by_name = row is not None and host.libc is None and host.glibc is None and bool(row["always"])
    if host.libc != MUSL and not by_name:
        return None
    system = " ".join(filter(None, (host.os_id or "this system", host.os_version)))
    because = (
        f"the C library of {system} is musl, and NVIDIA's driver libraries, its CUDA toolkit and PyTorch's wheels "
        "(manylinux) are linked with glibc"
    )
    base = str(next(iter(case.known["images"]["systems"].values()))["id"])
    where = "Use an image" if host.kind == "container" else "Use a system, or a container on this one,"
    return Refusal(because, f"{where} with glibc, such as {base} or debian.")


# --- Jetson ---


def no_sbsa(case: Case) -> Refusal | None:
    """A Jetson below JetPack 7: what is built for Arm servers does not run on it, wheels and toolkits alike.

    Source: catalogue/platforms.yml, jetson: sbsa.
    """
    jetson = case.host.jetson
    if jetson is None or jetson.sbsa:
        return None
    builds = "what NVIDIA and PyTorch build for Arm servers (SBSA)"
    if jetson.sbsa is None:
        because = f"{builds} runs on a Jetson from JetPack 7 on, and which JetPack this one has is unknown"
        return Refusal(because, "Record it with /etc/nv_tegra_release and the release of its kernel (uname -r).")
    return Refusal(f"this Jetson ({jetson.name}) does not run {builds}; JetPack 7 is the first that does")


def no_sbsa_toolkit(case: Case, release: str) -> Refusal | None:
    """The same of a CUDA toolkit, with the packages that a Jetson has instead."""
    refusal, jetson = no_sbsa(case), case.host.jetson
    if refusal is None or jetson is None or refusal.remedy:
        return refusal
    index = f" Its PyTorch is in Jetson's own index, {jetson.wheels}." if jetson.wheels else ""
    return Refusal(refusal.because, f"{own_toolkit(case, release)}{index}")


def own_toolkit(case: Case, release: str | None) -> str:
    """Where a Jetson below JetPack 7 gets a CUDA toolkit from, as a whole sentence."""
    jetson, rows = case.host.jetson, case.known["platforms"]["repositories"]
    if jetson is None:
        return ""
    where = f"NVIDIA's repository for Jetson ({rows['jetpack']['url']} {jetson.suite} main)"
    own = jetson.cuda
    if own is not None and own not in case.known["cuda"]["releases"]:
        return f"Install JetPack's own CUDA {own} from {where} by hand; no run uses a CUDA that old."
    bring = [str(row["jetpack"]) for _key, row in jetson.rows if row["cuda"] == release]
    if own is None and release and bring:
        base = f"NVIDIA's repository for Jetson ({rows['jetpack']['url']})"
        return f"Install cuda-toolkit-{_dashed(release)}, which JetPack {bring[0]} and newer bring, from {base}."
    if own is None:
        return f"Install JetPack's own CUDA, nvidia-jetpack, from {where}; a run then uses it as it is."
    wished = release or own
    if wished == own:
        return f"Install cuda-toolkit-{_dashed(own)} from {where}; a run then uses it as it is."
    upgrade = rows["upgrade"]
    listed = parse_version(upgrade["first"]) <= parse_version(wished) <= parse_version(upgrade["last"])
    if listed and parse_version(wished) > parse_version(own) and upgrade["os"] == jetson.row["os"]:
        compat = str(upgrade["compat"]).format(release=_dashed(wished))
        return (
            f"Install cuda-toolkit-{_dashed(wished)} and {compat}, which gives the driver's library for it, from "
            f"{upgrade['url']} (aarch64, not sbsa); or cuda-toolkit-{_dashed(own)}, JetPack's own, from {where}."
        )
    return f"Install JetPack's own CUDA {own} (cuda-toolkit-{_dashed(own)}) from {where}, and request that one."


def nothing_fits(case: Case) -> Refusal:
    """Why nothing that was requested runs here, where the platform is the reason; else that alone."""
    refusal = no_sbsa(case)
    return Refusal(f"nothing that was requested runs here{f': {refusal.because}' if refusal else ''}")


def remedies(case: Case) -> tuple[str, ...]:
    """What helps where a Jetson below JetPack 7 has nothing of its own that is as wished; nothing elsewhere."""
    refusal, jetson = no_sbsa(case), case.host.jetson
    if refusal is None or jetson is None:
        return ()
    if refusal.remedy:
        return (refusal.remedy,)
    request = case.request
    found = []
    listed = case.known["cuda"]["releases"]
    if jetson.cuda and jetson.cuda not in listed:
        oldest = min(listed, key=parse_version)
        own = f"{jetson.name} has CUDA {jetson.cuda}, and this collection knows releases from {oldest} on"
        found.append(f"Install {_by_hand(jetson)} by hand, without a run: {own}.")
    elif request.pytorch != "none" and jetson.wheels:
        python = f" (Python {jetson.row['wheels_python']})"
        found.append(
            f"Install PyTorch{python} from Jetson's own index: pip install torch --index-url {jetson.wheels}. "
            "A run with cuda: newest and pytorch: newest then uses it as it is."
        )
    elif request.pytorch != "none":
        found.append(f"Install NVIDIA's own PyTorch for this JetPack ({NVIDIAS_PYTORCH}).")
    if request.toolkit.provider != "none" and jetson.cuda in (None, *listed):
        found.append(own_toolkit(case, None if request.cuda == "newest" else request.cuda))
    later = _first_sbsa(case)
    if later:
        found.append(f"Flash JetPack {later['jetpack']} or newer, which runs what is built for Arm servers.")
    return tuple(dict.fromkeys(found))


def _by_hand(jetson: Jetson) -> str:
    """PyTorch for a Jetson whose CUDA is not planned here, and where it is."""
    return f"Jetson's own PyTorch ({jetson.wheels or NVIDIAS_PYTORCH})"


def _first_sbsa(case: Case) -> Row | None:
    """The first JetPack for this GPU that runs what is built for Arm servers."""
    capabilities = set(case.host.capabilities)
    rows = case.known["platforms"]["jetson"].values()
    fit = [row for row in rows if row["sbsa"] and capabilities and capabilities <= set(row["capabilities"])]
    return min(fit, key=lambda row: parse_version(row["jetpack"]), default=None)


def own_builds(case: Case, *, fallback: bool = False) -> Iterator[Build]:
    """The PyTorches that lie on a Jetson below JetPack 7 and are as wished, newest first; each is used as it is.

    Without a PyTorch in the wish it is JetPack's own CUDA alone. With ``fallback`` they need not be as wished.

    Those of PyTorch's own indexes (local versions such as +cu126) are for Arm servers. One that does not say for which
    GPUs it was compiled was compiled for those of its JetPack: nobody builds a Jetson's wheel for others.
    """
    jetson, request = case.host.jetson, case.request
    if no_sbsa(case) is None or jetson is None:
        return
    if fallback:
        torch = "none" if request.pytorch == "none" else "newest"
        request = replace(request, cuda="newest", pytorch=torch)
        case = replace(case, request=request)
    if request.pytorch == "none":
        release = case.known["cuda"]["releases"].get(jetson.cuda or "")
        if release and request.cuda in ("newest", jetson.cuda):
            archs = tuple(f"sm_{code}" for code in release["gpu_code"])
            yield Build(None, _index(str(jetson.cuda)), jetson.cuda, archs, (), (), None, str(jetson.row["source"]))
        return
    if request.wheels.provider not in (AUTO, ADOPT):
        return
    rows = [row for row in case.host.pytorches if _is_usable(case, row)]
    for row in sorted(rows, key=lambda row: _key(str(row["version"])), reverse=True):
        cuda = str(row["cuda"])
        archs = tuple(map(str, row.get("arch_list") or ()))
        own = tuple(f"sm_{name.replace('.', '')}" for name in jetson.row["capabilities"])
        yield Build(
            torch=str(row["version"]).partition("+")[0],
            index=_index(cuda),
            cuda=cuda,
            archs=archs or own,
            ptx=(),
            pythons=(str(row.get("python_version") or ""),),
            glibc=None,
            source=str(jetson.row["source"]),
            adopt=row,
        )


def _is_usable(case: Case, row: Row) -> bool:
    request = case.request
    version, cuda = str(row.get("version") or ""), str(row.get("cuda") or "")
    local = str(row.get("local") or version).partition("+")[2]
    if row.get("managed") or row.get("broken") or not row.get("python") or not _key(version):
        return False
    if cuda not in case.known["cuda"]["releases"] or request.cuda not in ("newest", cuda):
        return False
    if local == _index(cuda) or not matches(version.partition("+")[0], request.pytorch):
        return False
    return request.python in ("auto", row.get("python_version"), row.get("python"))


def not_on_jetson(case: Case) -> Refusal | None:
    """A Jetson's driver is a part of Jetson Linux; NVIDIA's packages of a driver are for other machines."""
    jetson = case.host.jetson
    if jetson is None:
        return None
    because = f"this is a Jetson ({jetson.name}), whose driver is a part of Jetson Linux (the packages nvidia-l4t-*)"
    return Refusal(because, "Update Jetson Linux, by apt or by flashing a newer JetPack; here, leave driver: keep.")


def no_jetson_driver(case: Case) -> Refusal | None:
    """A Jetson that shows neither its driver nor its GPU."""
    jetson, host = case.host.jetson, case.host
    if jetson is None:
        return None
    because = f"this is a Jetson ({jetson.name}), and neither its driver nor its GPU was found"
    if host.kind == "container":
        return Refusal(because, "Start the container with --runtime nvidia, which mounts the board's own libraries.")
    return Refusal(because, "Install Jetson Linux's own driver: the packages nvidia-l4t-core and nvidia-l4t-cuda.")


def _index(cuda: str) -> str:
    return f"cu{cuda.replace('.', '')}"


def _dashed(release: str) -> str:
    return release.replace(".", "-")


def _key(version: str) -> tuple[int, ...]:
    try:
        return parse_version(version)
    except ValueError:
        return ()


def check_wheels(case: Case, build: Build) -> Refusal | None:
    """Why a build of PyTorch's or PyPI's index does not run on this Jetson, or None; its CPU builds do."""
    if build.torch is None or build.cuda is None or build.adopt or case.request.wheels.provider == "source":
        return None
    return no_sbsa(case)
