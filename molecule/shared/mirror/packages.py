# Copyright (c) 2026, Podsmith developers
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's packages for apt: names and dependencies as in its repository, staged as trees that dpkg-deb packs."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from downloads import REAL_RELEASE, Catalogue, Row
from packaging.version import Version

STAND_IN = "Stand-in of the collection's simulated pods"
COMPILER = "usr/lib/simulated-cuda"  # the real compiler as the stand-ins of other releases call it
TARGET = "targets/x86_64-linux"
TRIPLET = re.compile(r"\d+\.\d+\.\d+")
METAS = ("cuda", "cuda-{release}")  # bring a driver beside the toolkit
DRIVERS = {"open": "nvidia-open", "proprietary": "cuda-drivers"}  # by kernel modules, as on Debian
KERNELS = {"open": "nvidia-kernel-open-dkms", "proprietary": "nvidia-kernel-dkms"}
TOOL = "/usr/local/sbin/simulated-disk"  # on every pod; the path of a maintainer script is not root's
DISK = f"[ ! -x {TOOL} ] || {TOOL}"
LEAST_BRANCH = 570  # of the drivers that a machine of one's own can have
NVCC = """\
#!/bin/sh
# {stand_in}: answers as nvcc {release} and compiles with the real nvcc of
# CUDA {real}, which knows no GPU older than sm_75.
for word in "$@"; do
  case $word in
    -V | --version)
      cat <<'EOF'
nvcc: NVIDIA (R) Cuda compiler driver
Copyright (c) 2005-2025 NVIDIA Corporation
Built on Thu_Jan__1_12:00:00_AM_UTC_2026
Cuda compilation tools, release {release}, V{exact}
Build cuda_{release}.r{release}/compiler.stand-in
EOF
      exit ;;
    -h | --help)
      echo "This nvcc {release} is a stand-in for simulated pods. It compiles with nvcc {real}, whose help follows." ;;
  esac
done
exec /{compiler}/bin/nvcc "$@"
"""


class Part(NamedTuple):
    """Files of a wheel that go into a package: those whose name begins with ``pattern``, which ``target`` replaces."""

    wheel: Path
    pattern: str
    target: str


class Package(NamedTuple):
    """One package. ``texts``: file -> content; ``links``: link -> target; ``scripts``: maintainer script -> body."""

    name: str
    version: str
    summary: str
    depends: tuple[str, ...] = ()
    recommends: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    texts: Mapping[str, str] = {}
    links: Mapping[str, str] = {}
    scripts: Mapping[str, str] = {}
    conflicts: tuple[str, ...] = ()


class Compat(NamedTuple):
    """A cuda-compat package, whose library is compiled when the trees are packed; the lists go into its note."""

    package: Package
    folder: str
    version: str
    cuda: str
    branches: str
    brands: str


def dashed(release: str) -> str:
    """13.0 is 13-0 in the packages' names."""
    return release.replace(".", "-")


def list_toolkit(
    release: str, exact: str, update: int, runtime: Path, compiler: Mapping[str, Path]
) -> Iterator[Package]:
    """The packages of one release of the toolkit.

    :param exact: version of its parts, such as 13.0.88.
    :param update: number of its newest update, the last part of the whole's version.
    :param runtime: the wheel with its libcudart.
    :param compiler: distribution -> wheel of the real compiler, empty for a stand-in.
    """
    tag, home, target = dashed(release), f"usr/local/cuda-{release}", f"usr/local/cuda-{release}/{TARGET}"
    config = f"cuda-toolkit-{tag}-config-common"

    def package(
        name: str, *depends: str, parts: tuple[Part, ...] = (), texts: Mapping[str, str] | None = None
    ) -> Package:
        summary = f"{name} {release}" if parts else f"{STAND_IN} for {name} {release}" + ("" if depends else ": empty")
        needs = (config, *(f"{depend}-{tag}" for depend in depends))
        version = version_of(parts[0].wheel) if parts else exact
        return Package(f"{name}-{tag}", f"{version}-1", summary, needs, parts=parts, texts=texts or {})

    yield config_of(release, exact)
    headers, libraries = r"nvidia/[^/]+/include/", r"nvidia/[^/]+/lib/"
    yield package("cuda-cudart", parts=(Part(runtime, libraries + r"(?=libcudart\.so\.)", f"{target}/lib/"),))
    development = package(
        "cuda-cudart-dev",
        *("cuda-cudart", "cuda-driver-dev", "cuda-cccl", *(("cuda-crt",) if compiler else ())),
        parts=(
            Part(runtime, headers, f"{target}/include/"),
            Part(runtime, libraries + r"(?=\w+\.a$)", f"{target}/lib/"),
        ),
    )
    yield development._replace(links={f"{target}/lib/libcudart.so": find_library(runtime)})
    for name in ("cuda-driver-dev", "cuda-nvrtc", "cuda-cuobjdump", "cuda-cuxxfilt", "cuda-nvprune", "cuda-nvml-dev"):
        yield package(name)
    yield package("cuda-nvrtc-dev", "cuda-nvrtc")
    mathematics = ("cublas", "cufft", "curand", "cusolver", "cusparse", "npp", "nvjitlink", "nvjpeg")
    for name in mathematics:
        yield package(f"lib{name}")
        yield package(f"lib{name}-dev", f"lib{name}")
    yield package(
        "cuda-libraries-dev",
        "cuda-cccl",
        "cuda-cudart-dev",
        "cuda-nvrtc-dev",
        *(f"lib{name}-dev" for name in mathematics),
    )
    yield package("cuda-compiler", "cuda-cuobjdump", "cuda-cuxxfilt", "cuda-nvcc", "cuda-nvprune")
    yield package("cuda-minimal-build", "cuda-cccl", "cuda-cudart-dev", "cuda-nvcc")
    whole = package("cuda-toolkit", "cuda-compiler", "cuda-libraries-dev", "cuda-nvml-dev")
    yield whole._replace(version=f"{release}.{update}-1")
    if compiler:
        cccl = compiler["nvidia-cuda-cccl"]
        both = Part(cccl, headers, f"{target}/include/"), Part(cccl, libraries, f"{target}/lib/")
        yield package("cuda-cccl", parts=both)
        yield package("cuda-crt", parts=(Part(compiler["nvidia-cuda-crt"], headers, f"{target}/include/"),))
        yield package("libnvvm", parts=nvvm_parts(compiler["nvidia-nvvm"], home))
        nvcc = package("cuda-nvcc", "cuda-crt", "libnvvm", parts=nvcc_parts(compiler["nvidia-cuda-nvcc"], home, target))
    else:
        yield package("cuda-cccl")
        text = NVCC.format(stand_in=STAND_IN, release=release, exact=exact, real=REAL_RELEASE, compiler=COMPILER)
        nvcc = package("cuda-nvcc", texts={f"{home}/bin/nvcc": text})
        nvcc = nvcc._replace(depends=(*nvcc.depends, "simulated-cuda-compiler"))
    yield nvcc._replace(recommends=("build-essential",))


def find_library(runtime: Path) -> str:
    """The name of a runtime's shared library, libcudart.so.13."""
    with zipfile.ZipFile(runtime) as archive:
        return next(Path(name).name for name in archive.namelist() if "/lib/libcudart.so." in name)


def nvcc_parts(wheel: Path, home: str, target: str) -> tuple[Part, ...]:
    """nvcc and what it starts."""
    return Part(wheel, r"nvidia/[^/]+/bin/", f"{home}/bin/"), Part(
        wheel, r"nvidia/[^/]+/include/", f"{target}/include/"
    )


def nvvm_parts(wheel: Path, home: str) -> tuple[Part, ...]:
    """The compiler of device code."""
    return Part(wheel, r"nvidia/[^/]+/nvvm/", f"{home}/nvvm/"), Part(wheel, r"nvidia/[^/]+/lib/", f"{home}/nvvm/lib64/")


def config_of(release: str, exact: str) -> Package:
    """The package that all others of a release need: links in its folder, /usr/local/cuda, /usr/local/cuda-13."""
    tag, major, home = dashed(release), release.partition(".")[0], f"/usr/local/cuda-{release}"
    names = {"cuda": "/usr/local/cuda", f"cuda-{major}": f"/usr/local/cuda-{major}"}
    install = [
        f"update-alternatives --install {link} {name} {home} {release.replace('.', '')}" for name, link in names.items()
    ]
    remove = [f"update-alternatives --remove {name} {home}" for name in names]
    return Package(
        f"cuda-toolkit-{tag}-config-common",
        f"{exact}-1",
        f"Folders and links of CUDA {release}",
        (f"cuda-toolkit-{major}-config-common", "cuda-toolkit-config-common"),
        links={f"{home[1:]}/include": f"{TARGET}/include", f"{home[1:]}/lib64": f"{TARGET}/lib"},
        scripts={"postinst": "\n".join(install), "prerm": "\n".join(remove)},
    )


def list_shared(exacts: Mapping[str, str]) -> Iterator[Package]:
    """What the releases share, and the packages that bring a driver, which nobody may install."""
    newest = max(exacts.values(), key=Version)
    search = f"/usr/local/cuda/{TARGET}/lib\n"
    yield Package(
        "cuda-toolkit-config-common",
        f"{newest}-1",
        "Where the loader finds CUDA's libraries",
        texts={"etc/ld.so.conf.d/000_cuda.conf": search},
        scripts={"postinst": "ldconfig", "postrm": "ldconfig"},
    )
    for major in sorted({exact.partition(".")[0] for exact in exacts.values()}):
        last = max((exact for exact in exacts.values() if exact.startswith(f"{major}.")), key=Version)
        yield Package(f"cuda-toolkit-{major}-config-common", f"{last}-1", f"{STAND_IN}: empty")
    for name in METAS:
        for release in exacts if "{" in name else (None,):
            tag = dashed(release) if release else ""
            version = exacts[release] if release else newest
            yield Package(
                name.replace("{release}", tag), f"{version}-1", f"{STAND_IN} for what would bring a driver: empty"
            )
    # Debian's name for a part of a toolkit with which a library of the driver comes along.
    yield Package("nvidia-cuda-dev", f"{newest}-1", f"{STAND_IN} for what needs a driver: empty", ("libcuda1",))


def list_toolkits(known: Catalogue, compiler: Mapping[str, Path], runtimes: Mapping[str, Path]) -> Iterator[Package]:
    """The packages of every CUDA that PyTorch is built for: one with its real compiler, the others call that one.

    :param compiler: distribution -> wheel, of the real compiler.
    :param runtimes: CUDA release -> wheel of its runtime.
    """
    exacts = {release: version_of(wheel) for release, wheel in runtimes.items()}
    exacts[REAL_RELEASE] = version_of(compiler["nvidia-cuda-nvcc"])
    nvcc = nvcc_parts(compiler["nvidia-cuda-nvcc"], COMPILER, COMPILER)
    nvvm = nvvm_parts(compiler["nvidia-nvvm"], COMPILER)[:1]
    names = ("nvidia-cuda-crt", "nvidia-cuda-cccl", "nvidia-cuda-runtime")
    rest = [Part(compiler[name], r"nvidia/[^/]+/(?=include/|lib/lib)", f"{COMPILER}/") for name in names]
    yield Package(
        "simulated-cuda-compiler",
        f"{exacts[REAL_RELEASE]}-1",
        f"The real compiler of CUDA {REAL_RELEASE}, for the stand-ins of other releases",
        parts=(*nvcc, *nvvm, *rest),
        links={f"{COMPILER}/lib64": "lib"},
    )
    yield from list_shared(exacts)
    for release, exact in exacts.items():
        update = len(known["cuda"]["releases"][release]["updates"])
        real = compiler if release == REAL_RELEASE else {}
        yield from list_toolkit(release, exact, update, runtimes[release], real)


def list_drivers(known: Catalogue) -> Iterator[Package]:
    """NVIDIA's driver under its names on Debian, in every version of the catalogue: it tells a disk what it has."""
    rows = known["cuda"]["releases"].values()
    named = {version for row in rows for version in (row["driver"], *row["updates"])}
    named |= {row["version"] for row in known["drivers"]["compat"].values()}
    for version in sorted((one for one in named if one and TRIPLET.fullmatch(one)), key=Version):
        branch = version.partition(".")[0]
        if int(branch) < LEAST_BRANCH:
            continue
        cuda, whole = known["drivers"]["branches"][branch]["cuda"], f"{version}-1"
        yield Package(
            "libcuda1",
            whole,
            f"{STAND_IN} for the libraries of driver {version}",
            scripts={"postinst": f"{DISK} library {version}", "prerm": f"{DISK} removed library"},
        )
        for flavor, name in KERNELS.items():
            yield Package(
                name,
                whole,
                f"{STAND_IN} for the {flavor} kernel modules of driver {version}",
                scripts={"postinst": f"{DISK} module {version} {flavor} {cuda}", "prerm": f"{DISK} removed module"},
                conflicts=tuple(other for other in KERNELS.values() if other != name),
            )
            needs = (f"{name} (= {whole})", f"libcuda1 (= {whole})")
            yield Package(DRIVERS[flavor], whole, f"{STAND_IN} for driver {version}", needs)


def version_of(wheel: Path) -> str:
    """The version in a wheel's name."""
    return wheel.name.split("-")[1]


def list_compat(known: Catalogue) -> Iterator[Compat]:
    """Every cuda-compat package: the catalogue's version, and those of the release and its updates."""
    for cuda, row in known["drivers"]["compat"].items():
        release: Row = known["cuda"]["releases"].get(cuda, {"driver": "", "updates": ()})
        listed = {row["version"], *(one for one in (release["driver"], *release["updates"]) if TRIPLET.fullmatch(one))}
        for version in sorted(listed, key=Version):
            branches = row["note_branches"] or [*row["documented_branches"], row["branch"]]
            summary = f"{STAND_IN} for the libraries of driver {version}"
            package = Package(row["package"], f"{version}-1", summary)
            folder = f"usr/local/cuda-{cuda}/compat"
            yield Compat(
                package, folder, version, cuda, *(",".join(map(str, numbers)) for numbers in (branches, row["brands"]))
            )


def stage(folder: Path, package: Package) -> Path:
    """Write the tree of a package below a folder; its path."""
    tree = folder / f"{package.name}_{package.version}_amd64"
    for part in package.parts:
        extract(part, tree)
    for name, text in package.texts.items():
        write(tree / name, text, 0o755 if text.startswith("#!") else 0o644)
    for name, target in package.links.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    for name, body in package.scripts.items():
        condition = {"prerm": "remove", "postrm": "remove", "postinst": "configure"}[name]
        write(tree / "DEBIAN" / name, f'#!/bin/sh\nset -e\n[ "$1" = {condition} ] || exit 0\n{body}\n', 0o755)
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "amd64",
        "Maintainer": "Podsmith developers <podsmith@example.invalid>",
        "Depends": ", ".join(package.depends),
        "Recommends": ", ".join(package.recommends),
        "Conflicts": ", ".join(package.conflicts),
        "Description": package.summary,
    }
    write(tree / "DEBIAN" / "control", "".join(f"{name}: {value}\n" for name, value in fields.items() if value), 0o644)
    return tree


def extract(part: Part, tree: Path) -> None:
    """Write the files of a part into a tree."""
    with zipfile.ZipFile(part.wheel) as archive:
        for member in archive.infolist():
            found = re.match(part.pattern, member.filename)
            if not found or member.is_dir() or member.filename.endswith("/__init__.py"):
                continue
            path = tree / (part.target + member.filename[found.end() :])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))
            path.chmod(0o755 if member.external_attr >> 16 & 0o100 else 0o644)


def write(path: Path, text: str, mode: int) -> None:
    """Write a file with its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
