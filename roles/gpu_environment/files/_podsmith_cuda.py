# ruff: noqa: PLC0415, PTH110, PTH112, PTH115, PTH119, PTH121, PTH123, PTH208, SIM105
# Every start of Python runs this, so it does without pathlib and contextlib, and without ctypes until it needs it.
"""Load the right libcuda before anything else does: what activate.sh does, for a Python that no shell has started.

Where the loader would give the right one by itself, nothing is loaded: that is read from LD_LIBRARY_PATH and the
loader's cache. Where a wrong one was preloaded, which nothing loaded later can cure, the interpreter starts anew.
"""

import os
import sys

SHARED = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")  # a distribution's own
DRIVERS = (
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib64/nvidia",
    "/usr/lib/nvidia",
    "/usr/lib64-nvidia",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/opengl-driver/lib",
    "/.singularity.d/libs",
    "/home/kubernetes/bin/nvidia/lib64",
    "/var/lib/nvidia/lib64",
    "/opt/nvidia/current/lib64",
    "/opt/nvidia/current/usr/lib64",
)  # folders that hold a driver's libraries and little else
TEGRA = ("/usr/lib/aarch64-linux-gnu/nvidia", "/usr/lib/aarch64-linux-gnu/tegra")  # here the file is libcuda.so.1.1
WSL = "/usr/lib/wsl/lib"  # Windows' driver, which no compat library fits
MACHINES = {"x86_64": 0x0303, "aarch64": 0x0A03}  # flags of an entry in the loader's cache
BESIDE = ("libnvidia-gpucomp.so.", "libnvidia-ptxjitcompiler.so.", "libnvidia-nvvm.so.", "libnvidia-ml.so.")
RESTARTED = "_PODSMITH_CUDA_RESTARTED"  # the number of the process that was started anew


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
    """Whether the compat library may be used: a listed branch, and no GPU that is a GeForce or Titan (error 804).

    One libcuda serves all GPUs of a process. A GPU whose device file is not beside those of others was not given here.
    """
    if branches and branch not in branches:
        return False
    folder = sysroot + "/proc/driver/nvidia/gpus"
    devices = os.listdir(sysroot + "/dev") if os.path.isdir(sysroot + "/dev") else []
    some = any(name[:6] == "nvidia" and name[6:].isdigit() for name in devices)
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        rows = {}
        try:
            with open(folder + "/" + name + "/information") as stream:
                for line in stream:
                    key, _unused, value = line.partition(":")
                    rows[key] = value.strip()
        except OSError:
            pass
        model, minor = rows.get("Model", "").lower(), rows.get("Device Minor")
        given = not some or minor is None or "nvidia" + minor in devices
        if given and ("geforce" in model or "titan" in model):
            return False
    return True


def find_native(text, entries, sysroot):
    """Folder and version of the driver's own libcuda; None where it is nowhere: a mismatch, or an unknown place."""
    if os.path.exists(sysroot + WSL + "/libcuda.so.1"):
        return sysroot + WSL, "1"
    if text:
        for folder in (*(sysroot + place for place in SHARED + DRIVERS), *entries):
            if os.path.exists(folder + "/libcuda.so." + text):
                return folder, text
        for folder in TEGRA:
            if os.path.exists(sysroot + folder + "/libcuda.so.1.1"):
                return sysroot + folder, "1.1"
    return None


def is_wanted(path, wanted):
    """Whether a file is the wanted library: the same file, or by its name a copy of it."""
    folder, version = wanted
    try:
        if os.path.samefile(path, folder + "/libcuda.so." + version):
            return True
    except OSError:
        pass
    name = os.path.basename(os.path.realpath(path))
    return name == "libcuda.so." + version or (
        version == "1" and name == "libcuda.so.1.1"
    )  # the latter is Windows' too


def read_cache(data, flags):
    """The libcuda.so.1 that the loader's cache gives a program of this machine, as a path; empty for none.

    The header takes 48 bytes, an entry six numbers: first its flags, third where its path stands. The loader takes the
    first entry that is for it. A path may be the end of a longer one.
    """
    base = data.find(b"glibc-ld.so.cache1.1")
    end = base + 48 + 24 * int.from_bytes(data[base + 20 : base + 24], "little")
    place = data.find(b"/libcuda.so.1\0", end) if base >= 0 and end <= len(data) else -1
    paths = {}
    while place >= 0:
        begin = data.rfind(b"\0", end, place) + 1 or end
        while 0 <= begin <= place:
            paths[begin - base] = data[begin : place + 13]
            begin = data.find(b"/", begin + 1, place + 1)
        place = data.find(b"/libcuda.so.1\0", place + 1)
    if paths:
        entries = memoryview(data)[base + 48 : end].cast("I")
        for number, place in enumerate(entries[2::6].tolist()):
            if place in paths and entries[6 * number] == flags:
                return os.fsdecode(paths[place])
    return ""


def find_default(sysroot):
    """The libcuda.so.1 that the loader takes where LD_LIBRARY_PATH has none; empty for none."""
    machine = os.uname().machine
    try:
        with open(sysroot + "/etc/ld.so.cache", "rb", buffering=0) as stream:
            cached = read_cache(stream.read(), MACHINES.get(machine))
    except OSError:
        cached = ""
    if cached and os.path.exists(sysroot + cached):
        return sysroot + cached
    for folder in ("/lib/" + machine + "-linux-gnu", "/usr/lib/" + machine + "-linux-gnu", "/lib64", "/usr/lib64"):
        path = sysroot + folder
        if os.path.exists(path + "/libcuda.so.1") and ("64" not in folder[-2:] or os.path.exists(path + "/libc.so.6")):
            return path + "/libcuda.so.1"
    return ""


def find_first(entries):
    """The first libcuda.so.1 on a search path; empty for none."""
    paths = ((entry or ".") + "/libcuda.so.1" for entry in entries)
    return next((path for path in paths if os.path.exists(path)), "")


def load(directory, version):
    """Load one driver's libraries by path; a later ``dlopen`` by SONAME, as torch and libcuda do it, finds these."""
    import ctypes

    ctypes.CDLL(directory + "/libcuda.so." + version, mode=ctypes.RTLD_GLOBAL)
    for name in BESIDE:
        if os.path.exists(directory + "/" + name + version):
            try:
                ctypes.CDLL(directory + "/" + name + version, mode=ctypes.RTLD_GLOBAL)
            except OSError:  # each is looked up by name then, as without us
                pass


def restart_without(wanted, sysroot):
    """Start this interpreter anew if it was started with a libcuda that is not the wanted one; else return.

    Only a process whose own first environment, or /etc/ld.so.preload, asked for that, which is a Python and not a
    program that embeds one, and only once: the same arguments, variables, open files and process number.
    """
    always = os.path.exists(sysroot + "/etc/ld.so.preload")
    if ("LD_PRELOAD" not in os.environ and not always) or os.environ.get(RESTARTED) == str(os.getpid()):
        return
    with open("/proc/self/maps") as maps:
        mapped = {line.rstrip("\n").split(None, 5)[5] for line in maps if "/libcuda.so" in line}
    if all(is_wanted(path, wanted) for path in mapped):
        return
    with open("/proc/self/environ", "rb") as stream:
        first = [item for item in stream.read().split(b"\0") if item.startswith(b"LD_PRELOAD=")]
    with open("/proc/self/cmdline", "rb") as stream:
        arguments = stream.read().split(b"\0")[:-1]
    program = os.path.basename(os.readlink("/proc/self/exe"))
    if not (first or always) or not arguments or not program.startswith(("python", "pypy")):
        return
    entries = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
    kept = [
        entry
        for entry in entries
        if not os.path.basename(entry).startswith("libcuda.so") or ("/" in entry and is_wanted(entry, wanted))
    ]
    if kept == entries or always:
        kept.insert(0, wanted[0] + "/libcuda.so." + wanted[1])
    variables = {**os.environ, RESTARTED: str(os.getpid()), "LD_PRELOAD": ":".join(kept)}
    if not kept:
        del variables["LD_PRELOAD"]
    os.execve("/proc/self/exe", arguments, variables)


def set_default(value, *names):
    """Set the first of the variables, unless the user has set one of them, if only to nothing."""
    if not any(name in os.environ for name in names):
        os.environ[names[0]] = value


def set_path(variable, entries):
    """Set a search path; without entries, none."""
    if entries:
        os.environ[variable] = ":".join(entries)
    else:
        os.environ.pop(variable, None)


def unbind_open_build():
    """Let ``pip install --no-build-isolation`` run: pip refuses a constraint on builds that it does not isolate."""
    if "--no-build-isolation" in getattr(sys, "argv", ()) or "PIP_NO_BUILD_ISOLATION" in os.environ:
        os.environ.pop("PIP_BUILD_CONSTRAINT", None)


def activate(compat, *, enabled, sysroot="", branches=()):
    """Load the compat library where it is on, else the driver's own; and leave children a path that agrees."""
    value = os.environ.get("LD_LIBRARY_PATH", "")
    text = read_driver(sysroot)
    windows = os.path.exists(sysroot + WSL + "/libcuda.so.1")
    if not (text or value or windows):
        return
    entries = value.split(":") if value else []
    driver = parse_version(text)
    stale = [
        entry
        for entry in entries
        if (entry.rstrip("/").endswith("/compat") and (is_older(entry, driver) or (windows and library_version(entry))))
        or (entry.rstrip("/").endswith("/stubs") and os.path.exists(entry + "/libcuda.so.1"))
    ]
    kept = [entry for entry in entries if entry != compat and entry not in stale]
    native = find_native(text, kept, sysroot)
    older = enabled and not windows and () < driver < parse_version(library_version(compat))
    on = older and is_allowed(driver[0], branches, sysroot)
    wanted = (compat, library_version(compat)) if on else native
    if wanted:
        try:
            restart_without(wanted, sysroot)
        except OSError:
            pass
        first = find_first(entries) or find_default(sysroot)
        if not (first and is_wanted(first, wanted)):
            load(*wanted)
    own = native is not None and native[0] not in {sysroot + folder for folder in SHARED}
    if own:  # a folder like this is safe to search: nothing in it stands before a library of somebody else
        first = find_first(kept) or find_default(sysroot)
        if native[0] not in kept and not (first and is_wanted(first, native)):
            places = (at for at, entry in enumerate(kept) if os.path.exists((entry or ".") + "/libcuda.so.1"))
            kept.insert(next(places, len(kept)), native[0])
        links = [entry for entry in os.environ.get("LIBRARY_PATH", "").split(":") if entry]
        linked = any(
            os.path.exists(sysroot + folder + "/libcuda.so.1") for folder in SHARED
        )  # where linkers look anyway
        if native[0] not in links and not linked:
            set_path("LIBRARY_PATH", [*links, native[0]])
    set_path("LD_LIBRARY_PATH", [compat, *kept] if on else kept)
