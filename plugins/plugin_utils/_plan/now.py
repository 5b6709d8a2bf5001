# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether CUDA works on a host now, by every way into it, and why not. Pure.

Every single judgement is a small rule in one of three tuples: of the driver itself (DRIVER_RULES: nothing can work, so
nothing is fetched), of a way into the host (WAY_RULES), and of what works and should be known all the same (NOTES).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import compat, containers
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.case import Case
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.causes import (
    LIBRARY,
    OF_ENVIRONMENT,
    WINDOWS,
    Cause,
    explain,
    family_of,
    find_causes,
    find_compat_row,
    halve,
    is_drivers,
    is_newer,
    is_own,
    is_repeated,
    list_possible,
    look,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.device_state import (
    compute_prohibited,
    exclusive_process,
    grave_xid,
    lesser_xid,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.mismatch import BROKEN_DRIVER, broken_driver
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import Refusal
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.ways import (
    ENVIRONMENT,
    INTERACTIVE,
    MAIN,
    TIMEOUT,
    VISIBLE,
    Answer,
    Way,
    name_ways,
    tell_faults,
)
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.words import escape

PROOF = "command"  # the way by which a run comes into the host, and its proof starts
SOME = "some_devices"  # kind of a foreign setting that is a choice
NO_DEVICE = 100
BLANK = Answer(None, "", 0)


@dataclass(frozen=True)
class WayNow:
    """What CUDA does by one way. ``works`` is None where nobody asked; ``because`` is a half sentence of what fails."""

    works: bool | None
    libcuda: str | None
    version: str | None
    code: int | None
    name: str | None
    devices: int
    because: str = ""


UNASKED = WayNow(None, None, None, None, None, 0)


@dataclass(frozen=True)
class Now:
    """Whether CUDA works now. ``works`` is None where there is nothing to judge: no GPU, an image, nothing observed.

    ``hopeless``: the driver itself does not work, so that no installation can. ``summary`` says in a half sentence
    what does not work; empty where all does.
    """

    works: bool | None = None
    ways: Mapping[str, WayNow] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    hopeless: bool = False
    summary: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether CUDA fails where a person works: by one of the main ways, or altogether."""
        return self.hopeless or any(self.ways[name].works is False for name in MAIN if name in self.ways)

    @property
    def stops(self) -> bool:
        """Whether nothing that a run installs could be proved: the driver fails, or the run itself sees no GPU."""
        own = self.ways.get(PROOF)
        blind = own is not None and own.works is False and own.code in OF_ENVIRONMENT
        return self.hopeless or (blind and not any(cause.mends for cause in self.causes))

    @property
    def remedies(self) -> tuple[str, ...]:
        """What would help, each once."""
        return tuple(dict.fromkeys(cause.remedy for cause in self.causes if cause.remedy))


def judge(case: Case) -> Now:
    """Judge what was observed of CUDA on a host. What it says holds no control characters of the host's files."""
    now = _judge(case)
    ways = {name: replace(way, because=escape(way.because)) for name, way in now.ways.items()}
    causes = (replace(one, because=escape(one.because), remedy=escape(one.remedy)) for one in now.causes)
    return replace(now, ways=ways, causes=tuple(causes), summary=escape(now.summary))


def _judge(case: Case) -> Now:
    host = case.host
    if case.request.cuda == "none" or host.target or host.status in ("missing", "no_device"):
        return Now()
    uncounted = host.gpus is None and (host.status or host.driver)  # GPUs all the same
    if not (host.gpus or uncounted or host.status in BROKEN_DRIVER):
        return Now()
    refusals = [refusal for rule in DRIVER_RULES if (refusal := rule(case))]
    ways = {name: _judge_way(case, way) for name, way in (host.ways or {}).items()}
    if refusals:
        causes = [cause for refusal in refusals for cause in _of_driver(refusal, host.libcuda)]
        return Now(False, ways, tuple(causes), hopeless=True, summary=refusals[0].because)
    failing = {name: way for name, way in (host.ways or {}).items() if ways[name].works is False}
    if failing:
        faults = tell_faults({name: ways[name].because for name in failing})
        summary = f"CUDA does not work: {'; '.join(faults)}"
        return Now(False, ways, find_causes(case, failing), summary=summary)
    return Now(True if any(way.works for way in ways.values()) else None, ways)


def _of_driver(refusal: Refusal, path: str | None) -> Iterator[Cause]:
    yield Cause("driver", None, None, None, path, refusal.because, refusal.remedy)
    yield from list_possible(refusal, path)


def _judge_way(case: Case, way: Way) -> WayNow:
    answer = way.answer
    refusal = next((refusal for rule in WAY_RULES if (refusal := rule(case, way))), None)
    works = False if refusal else True if answer and answer.works else None
    return WayNow(
        works,
        way.libcuda,
        way.version,
        answer.code if answer else None,
        answer.name if answer else None,
        answer.devices if answer else 0,
        refusal.because if refusal else "",
    )


# --- the driver itself ---


def driver_does_not_answer(case: Case) -> Refusal | None:
    """The kernel module and the libraries do not fit, or a GPU is lost."""
    return broken_driver(case)


def mig_without_slice(case: Case) -> Refusal | None:
    """MIG is on, and no slice was made or given to this host: CUDA has nothing to run on."""
    host = case.host
    split = [str(index) for index, gpu in enumerate(host.gpus or ()) if gpu.mig]
    answers = [host.native] if host.native else [way.answer for way in (host.ways or {}).values() if not way.visible]
    empty = [answer for answer in answers if answer and answer.code in (0, NO_DEVICE) and not answer.devices]
    hidden = not host.native and any(row.get("kind") == "hidden_devices" for row in host.conflicts)
    if not split or not empty or hidden or len(empty) < len(answers):
        return None
    remedy = "Create a slice on the host (nvidia-smi mig -cgi … -C) and give it to the container, or switch MIG off"
    return Refusal(f"MIG is on for GPU {', '.join(split)}, and CUDA sees no slice of it", f"{remedy}.")


def own_library_fails(case: Case) -> Refusal | None:
    """The driver's own libcuda answers with an error in a clean environment: no setting of the host is to blame."""
    host = case.host
    if host.native is None or host.native.works or _works_somewhere(case) or _is_explained(case):
        return None
    return _fails(case, host.native, None)


def own_library_failed(case: Case) -> Refusal | None:
    """The same, where nobody asked in a clean environment: by an error that no environment causes."""
    host = case.host
    if host.native is not None or _works_somewhere(case) or _is_explained(case):
        return None
    for way in (host.ways or {}).values():
        answer = way.answer
        if answer and is_own(case, way) and answer.code != 0 and answer.code not in OF_ENVIRONMENT:
            return _fails(case, answer, way)
    return None


def no_library_at_all(case: Case) -> Refusal | None:
    """The kernel driver is there, and the host has no libcuda of any kind, or none but those of other drivers."""
    host = case.host
    if host.ways is None or host.libcuda or host.native:
        return None
    others = sorted({way.libcuda for way in host.ways.values() if way.libcuda})
    is_strange = all(is_own(case, way) is False for way in host.ways.values()) and not _works_somewhere(case)
    if host.ways and not (host.searched and host.driver and others and is_strange):
        return None
    only = f" of that version in any known folder, only {', '.join(others)}" if others else ""
    because = f"driver {host.driver or 'of an unknown version'} is loaded, and the host has no libcuda.so.1{only}"
    if host.kind == "container":
        return Refusal(because, containers.no_library(host, others=bool(others)))
    return Refusal(because, "Install the driver's CUDA library in exactly the driver's version, or the whole driver.")


DRIVER_RULES: tuple[Callable[[Case], Refusal | None], ...] = (
    driver_does_not_answer,
    grave_xid,
    compute_prohibited,
    mig_without_slice,
    own_library_fails,
    own_library_failed,
    no_library_at_all,
)


# --- a way into the host ---


def never_asks(_case: Case, way: Way) -> Refusal | None:
    """A start-up file ends or holds the shell, or there is no program to start: CUDA is not even asked by this way.

    Of an interactive shell that says nothing: without a terminal some start another shell, or wait for their user.
    """
    if way.reached or way.name == INTERACTIVE:
        return None
    return Refusal(f"it {_silence(way)}")


def no_library(_case: Case, way: Way) -> Refusal | None:
    """The loader finds no libcuda, or one that it cannot load."""
    if not (way.asked and way.reached) or way.libcuda or way.answer:
        return None
    if way.error and "No such file" not in way.error:
        return Refusal(f"libcuda.so.1 cannot be loaded ({way.error})")
    return Refusal("the loader finds no libcuda.so.1")


def stub_library(_case: Case, way: Way) -> Refusal | None:
    """The toolkit's stub is for the linker alone."""
    if not way.stub:
        return None
    return Refusal(f"the stub {way.libcuda} is loaded, which is for linking only{_error(way)}")


def repeated_device(_case: Case, way: Way) -> Refusal | None:
    """CUDA starts with no GPU at all where one is named twice."""
    value = (way.environ or {}).get(VISIBLE)
    if value is None or not is_repeated(value) or (way.answer and way.answer.works):
        return None
    return Refusal(f'{VISIBLE} is "{value}", which names a GPU twice{_error(way)}')


def hidden_devices(_case: Case, way: Way) -> Refusal | None:
    """CUDA_VISIBLE_DEVICES leaves no GPU."""
    answer = way.answer
    if way.visible is None or not answer or answer.devices or answer.code not in (0, NO_DEVICE):
        return None
    return Refusal(f'{VISIBLE} is "{(way.environ or {})[VISIBLE]}", which hides every GPU{_error(way)}')


def compat_not_allowed(case: Case, way: Way) -> Refusal | None:
    """A compat library is loaded where it must be off; one that the plan may use here is right."""
    host, version = case.host, way.version
    row = find_compat_row(case, way)
    if not (way.compat or row) or way.stub or is_drivers(case, version):
        return None
    version = version or (str(row["version"]) if row and row.get("version") else None)
    name = " ".join(filter(None, ("compat library", version, f"from {way.folder}" if way.folder else "")))
    if host.wsl:
        return Refusal(f"{name} is loaded, which Windows' driver must not have{_error(way)}")
    if version and host.driver and not case.request.overrides.driver and not is_newer(version, host.driver):
        return Refusal(f"{name} is loaded, which is not newer than driver {host.driver}{_error(way)}")
    library = compat.find_library(case, str(row.get("cuda"))) if row else None
    if not isinstance(library, compat.Library) or (way.answer and way.answer.works):
        return None
    if refusal := compat.unlisted_brand(case, library):
        return Refusal(f"{name} is loaded, and {refusal.because}")
    usable = compat.usable_branches(case, library.cuda)
    if host.branch and host.branch not in usable:
        return Refusal(f"{name} is loaded, which is not for drivers of branch {host.branch}{_error(way)}")
    return None


def another_library(case: Case, way: Way) -> Refusal | None:
    """The libcuda is of another driver than the one in the kernel."""
    host = case.host
    if not way.libcuda or way.stub or way.compat or find_compat_row(case, way) or case.request.overrides.driver:
        return None
    if is_own(case, way) is not False:
        return None
    own = host.driver if way.version and host.driver and not host.wsl else host.libcuda or WINDOWS
    which = f"libcuda {way.version}" if way.version else "libcuda"
    return Refusal(f"{which} ({way.libcuda}) is loaded instead of the driver's {own}{_error(way)}")


def cuda_fails(_case: Case, way: Way) -> Refusal | None:
    """cuInit answers with an error, or does not return."""
    answer = way.answer
    return None if answer is None or not way.reached or answer.code == 0 else Refusal(_said(answer))


def fewer_devices(case: Case, way: Way) -> Refusal | None:
    """CUDA has fewer GPUs than NVML counts, and nobody chose some of them. A MIG GPU is counted otherwise."""
    gpus, answer = case.host.gpus or (), way.answer
    if answer is None or answer.code != 0:
        return None
    if not gpus or any(gpu.mig for gpu in gpus):
        because = ", and MIG is on: no slice is given to it" if gpus else ""
        return None if answer.devices else Refusal(f"CUDA sees no GPU{because}")
    wanted = len(gpus) if way.visible is None else min(len(gpus), len(way.visible))
    of = f"{wanted} GPUs" if way.visible is None else f"{wanted} GPUs that {VISIBLE} names"
    return None if answer.devices >= wanted else Refusal(f"CUDA sees {answer.devices} of {of}")


WAY_RULES: tuple[Callable[[Case, Way], Refusal | None], ...] = (
    never_asks,
    no_library,
    stub_library,
    repeated_device,
    hidden_devices,
    compat_not_allowed,
    another_library,
    cuda_fails,
    fewer_devices,
)


# --- what works and should be known ---


def silent_shell(case: Case) -> Iterator[str]:
    """An interactive shell that does not come as far as CUDA, which is no fault by itself."""
    way = (case.host.ways or {}).get(INTERACTIVE)
    if way and not way.reached and case.host.gpus:
        yield f"The {way.label} {_silence(way)}: what CUDA does there is not known. Look at its start-up files."


def chosen_devices(case: Case) -> Iterator[str]:
    """Somebody gave a way some of the GPUs, as is done on shared hosts."""
    gpus = len(case.host.gpus or ())
    some = [row for row in case.host.conflicts if row.get("kind") == SOME and row.get("file")]
    lines = [f"{row['file']}:{row['line']}" if row.get("line") else str(row["file"]) for row in some]
    chosen: dict[str, list[str]] = {}
    for name, way in (case.host.ways or {}).items():
        if way.is_chosen(gpus):
            chosen.setdefault(",".join(way.visible or ()), []).append(name)
    for value, names in chosen.items():
        yield f'{VISIBLE} is "{value}": some of the {gpus} GPUs are hidden ({"; ".join([name_ways(names), *lines])}).'


def small_shared_memory(case: Case) -> Iterator[str]:
    """Shared memory is so small that worker processes of a DataLoader fail."""
    row, size = case.known["health"]["process_limits"]["shm_mib"], case.host.shm_mib
    if size is None or size > row["too_little"] or case.host.target:
        return
    remedy = row["remedy_container" if case.host.kind == "container" else "remedy"]
    yield f"{row['what'].format(value=f'{size:g} MiB')}: {halve(str(row['cause']))}. {remedy}"


NOTES: tuple[Callable[[Case], Iterator[str]], ...] = (
    lesser_xid,
    exclusive_process,
    silent_shell,
    chosen_devices,
    small_shared_memory,
)


def note(case: Case) -> list[str]:
    """What a person should know although it changes no verdict."""
    return [] if case.host.target else [text for rule in NOTES for text in rule(case)]


def note_own_python(case: Case, now: Now) -> list[str]:
    """That the environment is of use although the loader of the host is not: its Python loads the driver's library."""
    failing = [way for name, way in (case.host.ways or {}).items() if now.ways.get(name, UNASKED).works is False]
    wrong = any(way.reached and family_of(case, way) == LIBRARY and not is_own(case, way) for way in failing)
    if not now.is_broken or ENVIRONMENT in now.ways or not wrong or not (case.host.native or BLANK).works:
        return []
    python = f"{case.layout.prefix}/current/bin/python"
    return [f"The driver's own libcuda works ({case.host.libcuda}): {python} loads it whatever the loader finds."]


# --- words and comparisons ---


def _is_explained(case: Case) -> bool:
    """Whether the driver itself said why CUDA does not work, so that its error adds nothing but guesses."""
    return any(rule(case) for rule in (driver_does_not_answer, grave_xid, compute_prohibited, mig_without_slice))


def _works_somewhere(case: Case) -> bool:
    return any(way.answer and way.answer.works for way in (case.host.ways or {}).values())


def _fails(case: Case, answer: Answer, way: Way | None) -> Refusal:
    """The driver's own library answers wrongly, by a way or in a clean environment: what CUDA says, what it means."""
    libcuda = way.libcuda if way else case.host.libcuda
    whose = f"the driver's own library ({libcuda})" if libcuda else "the driver's own library"
    if answer.code == 0:
        return Refusal(f"CUDA starts by {whose} and sees no GPU", look(case))
    meaning = explain(case, answer.code, way)
    means = f": {meaning.because}" if meaning.because else ""
    return Refusal(f"{_said(answer)} by {whose}{means}", meaning.remedy, meaning.possible)


def _silence(way: Way) -> str:
    """How a way ended that did not come as far as CUDA."""
    return "did not answer in time, before CUDA was asked" if way.answer else "ended before CUDA was asked"


def _said(answer: Answer) -> str:
    if answer.code is not None:
        return f"CUDA answers {answer.code} ({answer.name})"
    ended = {TIMEOUT: "cuInit does not return in time", "ENDED": "cuInit ended the program"}
    return ended.get(answer.name, f"cuInit crashes ({answer.name})")


def _error(way: Way) -> str:
    return f" (error {way.answer.code})" if way.answer and way.answer.code else ""
