# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes CUDA fail by a way into the host, down to file and line, what would help, and whether a run does that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import CACHE, is_system_folder
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.errors import explain_error, judge_visible
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Row
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.advice import COMMANDS, CONFLICTS
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.containers import engine_of, is_own_machine, no_library
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.driver import meets
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import (
    VARIABLES,
    find_repairs,
    is_listed,
    settings_of,
    why_left,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import (
    ENVIRONMENT,
    LIBRARY_PATH,
    PRELOAD,
    VISIBLE,
    Trace,
    Way,
)

# What to do where no line is to blame.
LOOK = "Look at the driver with nvidia-smi and the kernel's log with dmesg"
START_UP = "Check the start-up files of the {way} for an error, an exit, or something that waits."
DEVICE_FILES = (
    "Compare ls -l /dev/nvidia[0-9]* with nvidia-smi -L: CUDA has the GPUs whose device file is there and may be "
    "opened; a container is given them with --gpus all."
)
# What may be wrong with a way: which GPUs it is shown, or which libcuda it gets.
DEVICES, LIBRARY = "devices", "library"
FAMILIES = {
    "preload": LIBRARY,
    "ld_library_path": LIBRARY,
    "stubs": LIBRARY,
    "loader_order": LIBRARY,
    "loader_cache": LIBRARY,
    "loader_missing": LIBRARY,
    "second_libcuda": LIBRARY,
    "wsl_files": LIBRARY,
    "wsl_loader": LIBRARY,
    "wsl_cache": LIBRARY,
    "wsl_hidden": LIBRARY,
    "wsl_linux_library": LIBRARY,
    "hidden_devices": DEVICES,
    "repeated_devices": DEVICES,
    "some_devices": DEVICES,
}
MISSING = ("loader_missing", "wsl_loader", "wsl_files")  # the way finds no library at all
LOADER = "/etc/ld.so."  # conf, conf.d, cache, preload: what the loader reads for every process
CACHES = ("loader_cache", "wsl_cache")  # another library or none; ldconfig alone puts them right
OF_ENVIRONMENT = (100, 101)  # no GPU, no such GPU: what an environment can do to a driver that works
WINDOWS = "/usr/lib/wsl/"  # where Windows' driver puts its libraries
POSSIBLE = "possible"  # kind of what may be behind an error, where nobody can tell


@dataclass(frozen=True)
class Cause:
    """Why CUDA does not work. ``because`` is a half sentence about the place, ``remedy`` whole sentences.

    ``because`` is empty where nothing is known beyond what fails. Of the kind ``possible`` are several, of which nobody
    can tell which it is; they follow the cause that has the error itself.

    ``mends``: a run takes it away by itself, since the file is ours or listed in repair_files, or ldconfig is enough.
    """

    kind: str
    file: str | None
    line: int | None
    text: str | None
    path: str | None
    because: str
    remedy: str
    mends: bool = False


def find_causes(case: Case, failing: Mapping[str, Way]) -> tuple[Cause, ...]:
    """What explains the ways that fail, each once: what a trace has found first, then what was found in files.

    A way without either is explained by the variable that it was seen with, by what the loader gives it, or by CUDA's
    own error. Files are asked only where there is no trace: a line that nothing shows to have been read is no cause.
    """
    found = [cause for way in failing.values() for cause in _traced(case, way)]
    untraced = [way for way in failing.values() if not way.causes]
    for way in untraced:
        found += [_of_conflict(case, row) for row in _suspects(case, way)] or list(_seen(case, way))
    named = [*(cause for cause in found if cause.file), *(cause for cause in found if not cause.file)]
    first: dict[tuple[str | int | None, ...], Cause] = {}
    for cause in named:
        what = cause.because if cause.kind == POSSIBLE else cause.path
        first.setdefault((cause.file, cause.line) if cause.line else (cause.kind, cause.file, what), cause)
    return tuple(first.values())


def is_own(case: Case, way: Way) -> bool | None:
    """Whether a way's libcuda is the driver's own; None: it cannot be told."""
    host = case.host
    if not way.libcuda or way.stub or way.compat:
        return False
    if host.wsl:
        return way.libcuda.startswith(WINDOWS)
    if way.version and host.driver:
        return is_drivers(case, way.version)
    return way.libcuda == host.libcuda if host.libcuda else None


def find_compat_row(case: Case, way: Way) -> Mapping[str, object] | None:
    """The installed compat library that a way has loaded; the only one there is where the path does not say."""
    rows = case.host.compat
    found = next((row for row in rows if way.folder and row.get("path") == way.folder), None)
    return found or (rows[0] if way.compat and not way.folder and len(rows) == 1 else None)


def is_drivers(case: Case, version: str | None) -> bool:
    """Whether a library's version is the driver's, of which the branch alone may be known."""
    driver = case.host.driver
    return bool(version and driver) and meets(str(version), str(driver))


def is_newer(version: str, driver: str) -> bool:
    """Whether a compat library is newer than the driver, without which it must not be loaded."""
    return parse_version(version) > parse_version(driver)


def family_of(case: Case, way: Way) -> str:
    """Whether what fails is which GPUs a way is shown, or which library it gets: another one may start all the same."""
    host, answer = case.host, way.answer
    if answer is None or answer.code not in (0, *OF_ENVIRONMENT):
        return LIBRARY
    if is_own(case, way) is not False or (answer.code != 0 and VISIBLE in (way.environ or {})):
        return DEVICES
    allowed = way.compat and not host.wsl and way.version and host.driver and is_newer(way.version, host.driver)
    return DEVICES if allowed else LIBRARY


def explain(case: Case, code: int | None, way: Way | None = None) -> Refusal:
    """What CUDA's error means here, as a half sentence that may be empty, what may be behind it, and what to do.

    Without a way it is the answer of the driver's own library in a clean environment.
    """
    host = case.host
    names = {gpu.name for gpu in host.gpus or ()}
    context: dict[str, Any] = {
        "where": "probe",
        "kind": "wsl2" if host.flavor == "windows" else host.kind,
        "engine": engine_of(host),
        "flavor": host.flavor,
        "gpus": len(host.gpus or ()),
        "mig": any(gpu.mig for gpu in host.gpus or ()),
        "model": names.pop() if len(names) == 1 else None,
        "driver": host.driver,
        "compat_active": way.compat if way else False,
        "libcuda": way.version if way else host.driver,
    }
    if way is None or way.environ is not None:
        context["visible_devices"] = (way.environ or {}).get(VISIBLE) if way else None
    rows = case.known["drivers"]["errors"]
    found = None if code is None else explain_error(code, context, rows)
    if found is None:
        return Refusal("", look(case))
    if str(code) not in rows:
        return Refusal("the catalogue does not explain it", str(found["remedy"]))
    if not found.get("causes"):
        guess = "" if found["sure"] in ("A", "B") else "a usual reason: "
        return Refusal(f"{guess}{halve(found['cause'])}", str(found["remedy"]))
    row, several = rows[str(code)], len(found["causes"]) > 1
    possible = []
    for number, cause in enumerate(found["causes"], 1):
        which = f"possible cause {number}" if several else "possible cause"
        because = f"{which}: {cause['cause']} {cause['tell']}".rstrip(".")
        possible.append(Refusal(because, f"For {'' if several else 'the '}{which}: {cause['remedy']}"))
    return Refusal(halve(str(row["cause"])), str(row["remedy"]), tuple(possible))


def look(case: Case) -> str:
    """Where to look when nothing explains an error; nobody is sent away from a machine of their own."""
    return f"{LOOK}." if is_own_machine(case.host) else f"{LOOK}; in a rented container ask for another host."


def list_possible(meaning: Refusal, path: str | None) -> Iterator[Cause]:
    """What may be behind an error, each with what to do then."""
    for one in meaning.possible:
        yield Cause(POSSIBLE, None, None, None, path, one.because, one.remedy)


def halve(sentence: str) -> str:
    """A whole sentence as a half one; an abbreviation at its start keeps its letters."""
    text = sentence.rstrip(".")
    return text if text[1:2].isupper() else f"{text[:1].lower()}{text[1:]}"


def without_run(case: Case, causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """The causes where no run follows, such as on a blocked host: none is mended, and each says what to do by hand."""
    found = []
    for cause in causes:
        stays = replace(cause, mends=False)
        found.append(replace(stays, remedy=_remedy(case, stays)) if cause.mends else cause)
    return tuple(found)


# --- what the way's own trace has found ---


def _traced(case: Case, way: Way) -> Iterator[Cause]:
    for trace in way.causes:
        kind, because = _kind_of(way, trace)
        row = {"kind": kind, "file": trace.file, "line": trace.line, "text": trace.text, "path": way.folder}
        yield replace(_of_conflict(case, row), because=because)


def _kind_of(way: Way, trace: Trace) -> tuple[str, str]:
    if trace.variable == VISIBLE:
        kind = "repeated_devices" if is_repeated((way.environ or {}).get(VISIBLE) or trace.value) else "hidden_devices"
        return kind, f"sets {VISIBLE} to {trace.value!r}".replace("'", '"')
    if trace.variable == PRELOAD:
        return "preload", f"preloads {trace.value}"
    kind = "stubs" if way.stub else "ld_library_path"
    return kind, CONFLICTS[kind] if way.libcuda else f"sets {trace.variable} to {trace.value}"


def is_repeated(value: str) -> bool:
    """Whether a value of CUDA_VISIBLE_DEVICES names a GPU twice."""
    return judge_visible(value, None) == "repeats"


# --- what was found in files ---


def _suspects(case: Case, way: Way) -> list[Row]:
    """The foreign settings that can be what makes this way fail; those of the very folder alone where there are any."""
    rows = [row for row in case.host.conflicts if _fits(row, way, family_of(case, way))]
    exact = [row for row in rows if way.folder and row.get("path") and str(row["path"]).rstrip("/") == way.folder]
    return exact or rows


def _fits(row: Row, way: Way, family: str) -> bool:
    kind = str(row.get("kind"))
    nothing = way.asked and way.libcuda is None and way.answer is None  # the loader found no library
    if FAMILIES.get(kind) != family or not _is_read(row, way):
        return False
    if kind not in CACHES and (kind in MISSING) != nothing:
        return False
    return nothing or family == DEVICES or _is_of(row, way)


def _is_of(row: Row, way: Way) -> bool:
    """Whether the library that a way has loaded can come of a row: by its path, its version, or its kind of folder."""
    path, version = str(row.get("path") or "").rstrip("/"), row.get("version")
    if not path or not way.libcuda or way.libcuda == path or way.libcuda.startswith(f"{path}/"):
        return True
    if row.get("kind") == "second_libcuda":
        return False
    if version and way.version:
        return bool(version == way.version)
    return ("compat" in path.split("/")) == way.compat and ("stubs" in path.split("/")) == way.stub  # by a link's name


def _is_read(row: Row, way: Way) -> bool:
    """Whether the way shows what the row would do to it: a variable that is not set there was set by no file."""
    kind = str(row.get("kind"))
    variable = _variable_of(kind)
    by_loader = str(row.get("file") or "").startswith(LOADER)
    return way.environ is None or by_loader or variable is None or variable in way.environ


def _variable_of(kind: str) -> str | None:
    """The variable by which a foreign setting works; None of what the loader does for every program."""
    return VISIBLE if FAMILIES.get(kind) == DEVICES else VARIABLES.get(kind) or None


def _of_conflict(case: Case, row: Row) -> Cause:
    kind = str(row.get("kind"))
    file, line = row.get("file"), row.get("line")
    text, path = str(row.get("text") or "").strip() or None, row.get("path")
    because = CONFLICTS.get(kind, "disturbs CUDA")
    cause = Cause(
        kind=kind,
        file=str(file) if file else None,
        line=line if isinstance(line, int) else None,
        text=text,
        path=str(path) if path else None,
        because=because if file else f"{path or 'the environment'} {because}",
        remedy="",
        mends=_mends(case, kind, str(file or ""), line),
    )
    return replace(cause, remedy=_remedy(case, cause))


def _mends(case: Case, kind: str, file: str, line: object) -> bool:
    made = find_repairs(case.request.repair_files, case.host, case.layout.scope)
    if kind in CACHES:
        return any(repair["path"] == CACHE for repair in made)
    return any((repair["path"], repair["number"]) == (file, line) for repair in made)


def _remedy(case: Case, cause: Cause) -> str:
    """What to do about a place, in words that hold before and after a run."""
    command = COMMANDS.get(cause.kind)
    if command and not cause.line:
        by_itself = " A run does it by itself." if cause.mends else ""
        return _sentence(command.format(text=cause.text or "", path=cause.path or "")) + by_itself
    if cause.kind == "second_libcuda":
        return f"Remove {cause.path} and run ldconfig."
    if not cause.file or cause.file.startswith("/proc/"):  # of the container's first process: its image's
        variable = _variable_of(cause.kind) or LIBRARY_PATH
        return f"Correct {variable} where the container or the session is started with it."
    line = f"line {cause.line} of {cause.file}" if cause.line else f"the line in {cause.file}"
    shown = f" ({cause.text})" if cause.text else ""
    if cause.mends:
        return f"A run mends {line}{shown}: the file is in repair_files."
    and_then = " and run ldconfig" if cause.file.startswith(LOADER) else ""
    settings = (row for row in settings_of(case.host) if (row["path"], row["number"]) == (cause.file, cause.line))
    left = next((why for row in settings if (why := why_left(row, case.host, case.layout.scope))), None)
    if is_listed(cause.file, case.request.repair_files, case.host):
        return f"Remove {line}{shown} by hand{and_then}{f': {left}' if left else ''}."
    other = "" if left or not cause.text else ", or list the file in repair_files"
    return f"Remove {line}{shown}{and_then}{other}."


# --- what the way itself was seen with ---


def _seen(case: Case, way: Way) -> Iterator[Cause]:
    environ = way.environ or {}
    if not way.reached:
        python = f"{case.layout.prefix}/current/bin/python"
        remedy = START_UP.format(way=way.label)
        if way.name == ENVIRONMENT:
            remedy = f"See what {python} -I -c pass says, and run the plan again."
        yield Cause("shell", None, None, None, None, "", remedy)
        return
    if family_of(case, way) == DEVICES:
        if VISIBLE in environ:
            kind = "repeated_devices" if is_repeated(environ[VISIBLE]) else "hidden_devices"
            because = f'no start-up file was found that sets {VISIBLE} to "{environ[VISIBLE]}"'
            yield _of_environment(case, kind, f"{VISIBLE}={environ[VISIBLE]}", None, because)
            return
    elif "libcuda" in environ.get(PRELOAD, ""):
        because = f"{PRELOAD} is {environ[PRELOAD]} in {way.called}"
        yield _of_environment(case, "preload", f"{PRELOAD}={environ[PRELOAD]}", way.folder, because)
        return
    elif way.folder and way.folder in map(_plain, environ.get(LIBRARY_PATH, "").split(":")):
        because = f"{LIBRARY_PATH} has {way.folder} before the driver's folder in {way.called}"
        yield _of_environment(case, "ld_library_path", f"{LIBRARY_PATH}={environ[LIBRARY_PATH]}", way.folder, because)
        return
    elif way.folder and is_own(case, way) is False:
        because = f"what puts {way.folder} before the driver's folder was not found"
        remedy = f"Find what names {way.folder} (grep -r {way.folder} /etc/ld.so.conf.d), remove it and run ldconfig."
        if is_system_folder(way.folder):  # the library does not belong there; the folder does
            remedy = f"Remove {way.libcuda}, whose package dpkg -S or rpm -qf names, and run ldconfig."
        yield Cause("loader_order", None, None, None, way.folder, because, remedy)
        return
    answer = way.answer
    if answer is None:
        because = f"the driver's library is {case.host.libcuda}" if case.host.libcuda else ""
        yield Cause("loader_missing", None, None, None, case.host.libcuda, because, _add_folder(case))
        return
    if answer.code == 0:
        because = "" if way.environ is None else f"{VISIBLE} is not set"
        yield Cause("fewer_devices", None, None, None, None, because, DEVICE_FILES)
        return
    meaning = explain(case, answer.code, way)
    because = f"{answer.name}: {meaning.because}" if meaning.because else ""
    yield Cause("cuda", None, None, None, way.libcuda, because, meaning.remedy)
    yield from list_possible(meaning, way.libcuda)


def _add_folder(case: Case) -> str:
    """What puts a library within the loader's reach, where it is known to be there; else where to look for it."""
    host = case.host
    folder = host.libcuda.rpartition("/")[0] if host.libcuda else (host.container or {}).get("driver_dir")
    if not folder:
        look = f"Look for the driver's library (find / -name 'libcuda.so.{host.driver or '*'}') and add its folder"
        bring = "install the driver's CUDA library in exactly the driver's version"
        if host.kind == "container":
            bring = halve(no_library(host, others=False))
        return f"{look} to the loader's; where there is none, {bring}."
    return _sentence(COMMANDS["loader_missing"].format(path=folder))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _plain(folder: str) -> str:
    return folder.rstrip("/")


def _of_environment(case: Case, kind: str, text: str, path: str | None, because: str) -> Cause:
    cause = Cause(kind, None, None, text, path, because, "")
    return replace(cause, remedy=_remedy(case, cause))
