# SPDX-License-Identifier: GPL-3.0-or-later
"""Every known way to break CUDA from a start-up file, for real: what a user sees, what the plan names, what is mended.

Needs a host with a GPU, root, and an image that brought a CUDA toolkit, its compat package and PyTorch. The start-up
files are put back at the end; everything else goes into a scratch prefix.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from disaster import (
    BLOCK,
    ETC,
    FOLDER,
    LOADER,
    LOADER_FOLDER,
    PROBE,
    Answer,
    Keeper,
    Place,
    Scene,
    ask_all,
    find_links,
    find_place,
    lead_to,
    name_folder,
    why_not,
)
from gpu_hosts import Hosts, describe, table


@dataclass(frozen=True)
class Case:
    """One way to break CUDA: a line of .bashrc, or a variable that a session starts with."""

    name: str
    line: Callable[[Place], str] | None = None
    variables: Callable[[Place], dict[str, str]] | None = None
    kind: str | None = None  # of the conflict that the facts name


def copy_of_compat(place: Place, version: str) -> str:
    """A compat folder whose library says another version by its file name; its content stays what it is."""
    folder = place.scratch / f"driver-{version}" / "compat"
    if not folder.is_dir():
        shutil.copytree(place.compat, folder, symlinks=True)
        for library in folder.glob(f"*.so.{place.compat_version}"):
            library.rename(library.with_name(library.name.replace(place.compat_version, version)))
        for link in [path for path in folder.iterdir() if path.is_symlink()]:
            target = str(link.readlink()).replace(place.compat_version, version)
            link.unlink()
            link.symlink_to(target)
    return str(folder)


def stubs(place: Place) -> str:
    """The toolkit's stub of libcuda under the name that programs load."""
    folder = place.scratch / "toolkit" / "lib64" / "stubs"
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "libcuda.so.1"
    if not link.is_symlink():
        link.symlink_to(f"{place.toolkit}/lib64/stubs/libcuda.so")
    return str(folder)


def branch(place: Place, step: int) -> str:
    """The compat library's version, some branches away."""
    major, dot, rest = place.compat_version.partition(".")
    return f"{int(major) + step}{dot}{rest}"


CASES = [
    Case(
        "compat directory first, in .bashrc",
        line=lambda place: f"export LD_LIBRARY_PATH={place.compat}:$LD_LIBRARY_PATH",
        kind="ld_library_path",
    ),
    Case(
        "an older copy of the compat library, in the session's environment",
        variables=lambda place: {"LD_LIBRARY_PATH": copy_of_compat(place, branch(place, -10))},
    ),
    Case(
        "a newer copy of the compat library, in the session's environment (its content is not newer: it cannot work)",
        variables=lambda place: {"LD_LIBRARY_PATH": copy_of_compat(place, branch(place, 10))},
    ),
    Case(
        "stubs directory on the loader's path, in .bashrc",
        line=lambda place: f"export LD_LIBRARY_PATH={stubs(place)}:$LD_LIBRARY_PATH",
        kind="stubs",
    ),
    Case(
        "CUDA_VISIBLE_DEVICES empty, in .bashrc",
        line=lambda place: 'export CUDA_VISIBLE_DEVICES=""',
        kind="hidden_devices",
    ),
    Case(
        "CUDA_HOME points to a toolkit that is not there, in .bashrc",
        line=lambda place: "export CUDA_HOME=/usr/local/cuda-gone",
        kind="cuda_home",
    ),
]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """The host, observed; its files are put back and the scratch prefix removed at the end."""
    os.environ.pop("LD_LIBRARY_PATH", None)  # a session's own search path would hide what the loader does by itself
    hosts = Hosts.of_environment(FOLDER, os.environ)
    if hosts.limit != "local":
        pytest.skip("The disaster breaks the files of this very host: run it there, with LIMIT=local.")
    observed = hosts.play("facts", "tests/acceptance/observe.yml")
    assert observed.rc == 0, observed.complaint
    record: dict[str, Any] = next(iter(observed.records.values()), {})
    if because := why_not(record["gpu"]):
        pytest.skip(f"Nothing can be shown on this host: {because}.")
    signal.signal(signal.SIGTERM, lambda _number, _frame: pytest.exit("stopped; what was broken is put back"))
    scratch = Path(tempfile.mkdtemp(prefix="podsmith-disaster-", dir="/var/tmp"))
    place = find_place(record["gpu"], scratch)
    (scratch / "probe.py").write_text(PROBE, encoding="utf-8")
    host = describe(record["gpu"]) | {"compat": f"{place.compat} {place.compat_version}"}
    keeper = keep(place)
    try:
        yield Scene(place, hosts, keeper, host, dict(record["request"]), [])
    finally:
        keeper.put_back()
        shutil.rmtree(scratch, ignore_errors=True)


def keep(place: Place) -> Keeper:
    """Every file that a case changes, as it is now."""
    return Keeper([place.bashrc, *map(Path, (*ETC, *LOADER)), *name_folder(place.native.parent)])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_play_mends(scene: Scene, case: Case) -> None:
    place = scene.place
    scene.keeper.start_over()
    original = place.bashrc.read_text(encoding="utf-8") if place.bashrc.is_file() else ""
    variables = case.variables(place) if case.variables else {}
    line = case.line(place) if case.line else None
    if line:
        place.bashrc.write_text(f"{line}\n{original}", encoding="utf-8")

    before = ask_all(place, place.torch_python, by_name=False, variables=variables)
    facts = scene.play("facts", "tests/acceptance/observe.yml")
    plan = scene.play("plan", "playbooks/plan.yml")
    mended = scene.play("bootstrap", "bootstrap.yml", [str(place.bashrc)])
    after = ask_all(place, place.python, by_name=True, variables=variables)
    again = scene.play("second run", "bootstrap.yml", [str(place.bashrc)])

    ((_host, observed),) = facts.records.items()
    conflicts = [row for row in observed["gpu"]["conflicts"] if row["file"] == str(place.bashrc)]
    decision = next(iter(mended.records.values()), {})
    scene.record(
        {
            "case": case.name,
            "did": line or " ".join(f"{name}={value}" for name, value in variables.items()),
            "before": before,
            "facts": {"conflicts": conflicts, "loader": observed["gpu"]["loader"]},
            "plan": list(next(iter(plan.records.values()), {}).get("warnings", [])),
            "bootstrap": {"seconds": mended.seconds, "applied": [row["what"] for row in decision.get("applied", [])]},
            "after": after,
            "second_run": {"seconds": again.seconds, "changed": sum(again.changed.values())},
        }
    )
    tell(case.name, before, after)

    broken = [way for way, answer in before.items() if not answer["works"]]
    assert broken, "nothing was broken: the case shows nothing on this host"
    if case.kind:
        assert [(row["kind"], row["line"], row["text"]) for row in conflicts] == [(case.kind, 1, line)]
        assert f"{place.bashrc}:1" in "".join(plan.out.split()), "the plan does not name file and line"
    assert mended.rc == 0, mended.complaint
    text = place.bashrc.read_text(encoding="utf-8") if place.bashrc.is_file() else ""
    assert BLOCK.sub("", text).split("\n") == original.split("\n"), "more than the line was taken out of .bashrc"
    assert again.rc == 0, again.complaint
    assert sum(again.changed.values()) == 0
    assert {way: answer for way, answer in after.items() if not answer["works"]} == {}
    own = f"{place.prefix}/"
    assert [way for way, answer in after.items() if not answer["python"].startswith(own)] == []


# --- a host that was proven ---

SHELLS = ("login shell (bash -lc)", "interactive shell (bash -ic)")
NO_SHELL = ("cron (sh -c)", "Jupyter kernel (the kernelspec's argv, no shell)")


@dataclass(frozen=True)
class Wreck:
    """One way to break a proven host; ``place_of`` is the file, and the line, or the folder that must be named."""

    name: str
    do: Callable[[Place], str]
    kind: str  # of the cause
    place_of: Callable[[Place], str]
    repair: tuple[str, ...] = ()  # files that may be repaired
    mends: bool = True
    spoils: bool = False  # whether the variable stops our Python, too, where a shell sets it: it is its user's choice


def run(command: str) -> str:
    """Run a shell command; the command."""
    subprocess.run(["sh", "-ec", command], check=True, capture_output=True)
    return command


def append(place: Place, line: str) -> str:
    """Put a line at the end of .bashrc, as ``echo … >> ~/.bashrc`` does; the line."""
    text = place.bashrc.read_text(encoding="utf-8") if place.bashrc.is_file() else ""
    place.bashrc.write_text(f"{text.rstrip(chr(10))}\n{line}\n".lstrip("\n"), encoding="utf-8")
    return line


def last_line(place: Place) -> str:
    """Where :func:`append` has written."""
    return f"{place.bashrc}:{len(place.bashrc.read_text(encoding='utf-8').splitlines())}"


def copy_libcuda(place: Place) -> str:
    """A folder with a libcuda of another version, as an image's own package leaves it."""
    folder = place.scratch / "image" / "lib"
    folder.mkdir(parents=True, exist_ok=True)
    library = f"libcuda.so.{place.compat_version}"
    shutil.copy(place.compat / library, folder / library)
    for name, target in (("libcuda.so.1", library), ("libcuda.so", "libcuda.so.1")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    return str(folder)


def hide_native(place: Place) -> str:
    """Take the driver's folder from the loader's configuration, and links to it from where the loader always looks."""
    files = name_folder(place.native.parent)
    if not files:
        pytest.skip(f"{place.native.parent} is one of the loader's default folders: it cannot be hidden from it.")
    names = {line for path in files for line in path.read_text(encoding="utf-8").splitlines()}
    hidden = [line for line in sorted(names) if lead_to(line) == place.native.parent]
    comment = " ".join(f"-e 's|^{line}$|# &|'" for line in hidden)
    links = shlex.join(map(str, find_links(place.native.parent)))
    return run(f"sed -i {comment} {shlex.join(map(str, files))} && rm -f {links} && ldconfig")


COMPAT_CONF, IMAGE_CONF = f"{LOADER_FOLDER}/000-compat.conf", f"{LOADER_FOLDER}/000-image.conf"
WRECKS = [
    Wreck(
        "the compat directory in the loader's configuration",
        do=lambda place: run(f"echo {place.compat} >{COMPAT_CONF} && ldconfig"),
        kind="ld_library_path",
        place_of=lambda _place: f"{COMPAT_CONF}:1",
        repair=(COMPAT_CONF,),
    ),
    Wreck(
        "the compat directory in the loader's cache alone",
        do=lambda place: run(f"echo {place.compat} >{COMPAT_CONF} && ldconfig && rm {COMPAT_CONF}"),
        kind="loader_cache",
        place_of=lambda _place: "/etc/ld.so.cache",
    ),
    Wreck(
        "an image's libcuda of another version before the driver's in the loader's configuration",
        do=lambda place: run(f"echo {copy_libcuda(place)} >{IMAGE_CONF} && ldconfig"),
        kind="loader_order",
        place_of=lambda _place: f"{IMAGE_CONF}:1",
        repair=(IMAGE_CONF,),
    ),
    Wreck(
        "the driver's libraries in a folder that the loader does not know",
        do=hide_native,
        kind="loader_missing",
        place_of=lambda place: str(place.native.parent),
        mends=False,
    ),
    Wreck(
        "LD_PRELOAD of the compat library, in .bashrc",
        do=lambda place: append(place, f"export LD_PRELOAD={place.compat}/libcuda.so.1"),
        kind="preload",
        place_of=last_line,
        repair=("~/.bashrc",),
    ),
    Wreck(
        "a GPU named twice in CUDA_VISIBLE_DEVICES, in .bashrc",
        do=lambda place: append(place, "export CUDA_VISIBLE_DEVICES=0,0"),
        kind="repeated_devices",
        place_of=last_line,
        repair=("~/.bashrc",),
        spoils=True,
    ),
]


@pytest.fixture(scope="module")
def proven(scene: Scene) -> Scene:
    """The host as a bootstrap leaves it, with nothing broken."""
    scene.keeper.start_over()
    run = scene.play("proven", "bootstrap.yml")
    assert run.rc == 0, run.complaint
    ((_host, decision),) = run.records.items()
    assert decision["verdict"] == "ok", decision["summary"]
    return scene


@contextmanager
def put_back_afterwards(place: Place) -> Iterator[Keeper]:
    """Whatever happens within, the files are then what they were."""
    keeper = keep(place)
    try:
        yield keeper
    finally:
        keeper.put_back()


@pytest.mark.parametrize("wreck", WRECKS, ids=lambda wreck: wreck.name)
def test_ok_is_never_said_of_what_is_broken(proven: Scene, wreck: Wreck) -> None:
    """The plan names what is wrong, our Python works all the same, one run mends what it may, the next is clean."""
    place = proven.place
    with put_back_afterwards(place) as keeper:
        did = wreck.do(place)
        named = wreck.place_of(place)
        before = ask_all(place, place.torch_python, by_name=False, variables={})
        ours = ask_all(place, place.python, by_name=False, variables={})
        plan = proven.play("plan", "playbooks/plan.yml")
        mended = proven.play("bootstrap", "bootstrap.yml", wreck.repair)
        after = ask_all(place, place.torch_python, by_name=False, variables={})
        left = place.bashrc.read_text(encoding="utf-8").splitlines()
        if not wreck.mends:
            keeper.put_back()
        again = proven.play("second run", "bootstrap.yml", wreck.repair)

    ((_host, decision),) = plan.records.items()
    final = next(iter(again.records.values()), {})
    causes = [row for row in decision["now"]["causes"] if row["kind"] == wreck.kind]
    proven.record(
        {
            "case": wreck.name,
            "did": did,
            "before": before,
            "ours_before": ours,
            "plan": {"verdict": decision["verdict"], "works": decision["now"]["works"], "causes": causes},
            "bootstrap": {
                "seconds": mended.seconds,
                "exit": mended.rc,
                "applied": [row["what"] for row in next(iter(mended.records.values()), {}).get("applied", [])],
            },
            "after": after,
            "second_run": {"seconds": again.seconds, "changed": sum(again.changed.values())},
        }
    )
    tell(wreck.name, before, after)
    sys.stdout.write(f"plan: {decision['verdict']}; {'; '.join(str(row['because']) for row in causes)}\n")

    assert [way for way, answer in before.items() if not answer["works"]], "nothing was broken on this host"
    assert decision["verdict"] != "ok"
    assert causes, f"expected a cause of kind {wreck.kind}; found {decision['now']['causes']}"
    assert "".join(named.split()) in "".join(plan.out.split()), f"the plan does not name {named}"
    ways = NO_SHELL if wreck.spoils else tuple(ours)
    stopped = {way: ours[way] for way in ways if not ours[way]["works"]}
    assert stopped == {}, "our own Python does not work"
    if wreck.mends:
        assert mended.rc == 0, mended.complaint
        assert {way: answer for way, answer in after.items() if not answer["works"]} == {}
        assert did not in left, "the line is still in .bashrc"
    else:
        assert {way: after[way] for way in SHELLS if not after[way]["works"]} == {}, "the activation does not help"
    assert again.rc == 0, again.complaint
    assert (final["verdict"], sum(again.changed.values())) == ("ok", 0)


# What a DataLoader with workers does for its first large batch.
LOAD = """
import torch
class Large(torch.utils.data.Dataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return torch.ones(1 << 18)
for batch in torch.utils.data.DataLoader(Large(), batch_size=2, num_workers=2):
    assert batch.sum() == batch.numel()
"""


def load(place: Place) -> bool:
    """Whether our Python's DataLoader works with workers."""
    done = subprocess.run([place.python, "-c", LOAD], capture_output=True, timeout=120, check=False)
    return done.returncode == 0


def test_a_small_shared_memory_is_told(proven: Scene) -> None:
    """It breaks no CUDA: the size and the flag that raises it are what a user needs to hear."""
    place, size = proven.place, os.statvfs("/dev/shm")
    resize = "mount -o remount,size={} /dev/shm"
    if subprocess.run(["sh", "-c", resize.format("1m")], capture_output=True, check=False).returncode:
        pytest.skip("This container may not mount: /dev/shm keeps its size.")
    try:
        before = load(place)
        plan = proven.play("plan", "playbooks/plan.yml")
    finally:
        run(resize.format(size.f_blocks * size.f_frsize))
    after = load(place)
    again = proven.play("second run", "bootstrap.yml")
    ((_host, decision),) = plan.records.items()
    told = [text for text in decision["warnings"] if "/dev/shm" in text]
    proven.record(
        {
            "case": "/dev/shm of 1 MiB",
            "did": resize.format("1m"),
            "before": {"DataLoader with workers": {"works": before}},
            "plan": {"verdict": decision["verdict"], "told": told},
            "after": {"DataLoader with workers": {"works": after}},
            "second_run": {"seconds": again.seconds, "changed": sum(again.changed.values())},
        }
    )
    sys.stdout.write(f"\n/dev/shm of 1 MiB: {'; '.join(told)}\n")
    assert (before, after) == (False, True)
    assert told, "expected a warning of /dev/shm"
    assert "1 MiB" in told[0]
    assert "--shm-size" in told[0]
    assert (again.rc, sum(again.changed.values())) == (0, 0), again.complaint


def tell(name: str, before: dict[str, Answer], after: dict[str, Answer]) -> None:
    """Print before and after of one case."""
    rows = [("way", "before", "after")]
    rows += [(way, outcome(answer), outcome(after[way])) for way, answer in before.items()]
    sys.stdout.write(f"\n{name}\n{table(rows)}\n")


def outcome(answer: Answer) -> str:
    """An answer in a few words."""
    return "works" if answer["works"] else str(answer.get("error", "wrong result"))[:90]
