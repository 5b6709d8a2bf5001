# ruff: noqa: PLC0415, PTH110, PTH112, PTH119, PTH123, PTH208
# Every start of Python runs this, so it does without pathlib, and without ctypes until it needs it.
"""Load the right libcuda before anything else does: what activate.sh does, for a Python that no shell has started."""

import os

SEARCHED = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
)
WSL = "/usr/lib/wsl/lib"  # Windows' driver, which no compat library fits


def parse_version(text):
    """Three numbers of ``570.26`` or ``570.124.06``; nothing for what is no version."""
    fields = text.split(".")
    if len(fields) < 2 or not all(field.isdigit() and field.isascii() for field in fields):
        return ()
    return tuple((*map(int, fields), 0)[:3])


def read_driver(sysroot):
    """The version of the kernel driver as text; empty without one."""
    try:
        with open(sysroot + "/sys/module/nvidia/version") as stream:
            return stream.readline().strip()
    except OSError:
        pass
    try:
        with open(sysroot + "/proc/driver/nvidia/version") as stream:
            line = stream.readline()
    except OSError:
        return ""
    return [*line.split("  "), ""][1].strip() if line.startswith("NVRM version:") else ""


def library_version(directory):
    """The version which the libcuda in a directory carries in its file name, as text."""
    return os.path.basename(os.path.realpath(directory + "/libcuda.so.1"))[len("libcuda.so.") :]


def is_older(directory, driver):
    """Whether a directory holds a libcuda that is older than the driver."""
    return () < parse_version(library_version(directory)) < driver


def is_allowed(branch, branches, sysroot):
    """Whether the compat library may be used: a listed branch, and a GPU that is no GeForce or Titan (error 804)."""
    if branches and branch not in branches:
        return False
    folder, models = sysroot + "/proc/driver/nvidia/gpus", []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            with open(folder + "/" + name + "/information") as stream:
                models.append(stream.readline().lower())
        except OSError:
            pass
    return not models or any("geforce" not in model and "titan" not in model for model in models)


def load(directory, version):
    """Load one driver's libraries by path; a later ``dlopen`` by SONAME, as torch and libcuda do it, finds these."""
    import ctypes

    for name in ("libcuda.so.", "libnvidia-ptxjitcompiler.so.", "libnvidia-nvvm.so."):
        if os.path.exists(directory + "/" + name + version):
            ctypes.CDLL(directory + "/" + name + version, mode=ctypes.RTLD_GLOBAL)


def set_default(value, *names):
    """Set the first of the variables, unless the user has set one of them, if only to nothing."""
    if not any(name in os.environ for name in names):
        os.environ[names[0]] = value


def activate(compat, *, enabled, sysroot="", branches=()):
    value = os.environ.get("LD_LIBRARY_PATH", "")
    if not enabled and not value:
        return
    entries = value.split(":") if value else []
    text = read_driver(sysroot)
    driver = parse_version(text)
    first = next((entry for entry in entries if os.path.exists(entry + "/libcuda.so.1")), None)
    windows = os.path.exists(sysroot + WSL + "/libcuda.so.1")
    compats = [entry for entry in entries if entry.rstrip("/").endswith("/compat")]
    stale = [entry for entry in compats if is_older(entry, driver) or (windows and library_version(entry))]
    kept = [entry for entry in entries if entry != compat and entry not in stale]
    older = enabled and () < driver < parse_version(library_version(compat))
    if windows:
        if first in stale:
            load(sysroot + WSL, "1")
    elif older and is_allowed(driver[0], branches, sysroot):
        load(compat, library_version(compat))
        kept = [compat, *kept]
    elif first is not None and (first == compat or is_older(first, driver)):
        searched = (*kept, *(sysroot + directory for directory in SEARCHED))
        natives = (directory for directory in searched if os.path.exists(directory + "/libcuda.so." + text))
        native = next(natives, None)
        if native:
            load(native, text)
    if kept:
        os.environ["LD_LIBRARY_PATH"] = ":".join(kept)
    else:
        os.environ.pop("LD_LIBRARY_PATH", None)
