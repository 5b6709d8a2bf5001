# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What set a variable that breaks CUDA: a shell that answered wrongly is run once more with its own trace.

The trace's prompt tells, before each command, the file, the line and the values of the variables. A command after which
a value is another one has set it, whatever its form. Nothing here runs for a way that answers well.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Child
from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import (
    CUDA_VARIABLES,
    LIBRARY_PATH,
    PAM_ENVIRONMENT,
    PRELOAD,
    VISIBLE,
    list_pam_lines,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import FIRST, Root, split_path
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.loader_search import SONAME
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import (
    Sources,
    Way,
    has_fewer_devices,
    is_other_library,
    is_wrong,
)

Record = dict[str, Any]

BEGIN, SEP, UNSET = "\x1e", "\x1f", "\x1d"  # of a step; between its fields; a variable that is not set
VALUES = "".join(f"${{{name}-{UNSET}}}{SEP}" for name in CUDA_VARIABLES)
# bash takes PS4 from nobody's environment where it runs as root, so it gets it in its own script; the others do.
PROMPTS = {
    "bash": f"{BEGIN}${{BASH_SOURCE-}}{SEP}${{LINENO-}}{SEP}${{BASH_SUBSHELL-0}}{SEP}{VALUES}",
    "zsh": f"{BEGIN}%x{SEP}%I{SEP}${{ZSH_SUBSHELL-0}}{SEP}{VALUES}",
    "sh": f"{BEGIN}{SEP}${{LINENO-}}{SEP}0{SEP}{VALUES}",  # it does not tell its file
}
TRACE_FD = 9  # where bash writes its trace, so that a file which redirects its errors does not hide it
SYSTEM_BASHRCS = ("/etc/bash.bashrc", "/etc/bash/bashrc")  # one of these may be compiled into bash
FISH_FILES = ("/etc/fish/conf.d/*.fish", "/etc/fish/config.fish")
FISH_HOME_FILES = (".config/fish/conf.d/*.fish", ".config/fish/config.fish", ".config/fish/fish_variables")
HIDING_CODES = (100, 101)  # cuInit where CUDA_VISIBLE_DEVICES names no GPU, or one twice
SOURCING = re.compile(r"(?:\.|source) +(?P<file>'[^']*'|[^ ;]+)")
EVALUATING = re.compile(r"(?:builtin |command )?eval\b")
ARGUMENT = re.compile(r"\$\{?[1-9@*]")  # of a function
DECLARING = re.compile(r"(?:export|declare|typeset|readonly)\b")


class Step(NamedTuple):
    """One command of a trace, and the variables as they were before it; ``None`` is not set."""

    file: str  # empty where the shell does not tell, and for what we gave it to run
    line: int
    values: tuple[str | None, ...]  # of CUDA_VARIABLES
    command: str
    depth: int = 1  # of sourced files and eval, in bash


class Suspect(NamedTuple):
    """What is wrong with a variable: an entry that it has, one that it has lost, or its whole value (no entry)."""

    variable: str
    entry: str | None
    is_lost: bool = False


class Started(NamedTuple):
    """A shell that is being traced."""

    way: Way
    kind: str  # bash, zsh, fish or sh
    child: Child | None  # none of fish, whose files are searched
    files: tuple[str, ...]  # its start-up files, as far as they are known


def find_causes(
    root: Root,
    ways: Sequence[Way],
    sources: Sources,
    answers: Mapping[str, Record],
    observed: tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]],
    timeout: float,
) -> dict[str, list[Record]]:
    """What set the variables with which a way answers wrongly: the contract's ``causes`` of each such way.

    :param sources: where the ways have the variables from that they begin with.
    :param answers: what each way said, as of ``parse_probe``.
    :param observed: the contract's ``driver`` and ``devices``.
    :param timeout: seconds for the second run of each shell; all of them run side by side.
    """
    driver, devices = observed
    suspects = {
        way.name: find_suspects(root, answers[way.name], way.env, driver, devices)
        for way in ways
        if is_wrong(answers.get(way.name) or {}, driver, devices)
    }
    started = {way.name: start_trace(root, way, timeout) for way in ways if suspects.get(way.name)}
    causes = {}
    for name, found in suspects.items():
        rows: list[Record] = []
        if found:
            trace = started[name]
            steps = parse_trace(trace.child.result().out) if trace.child else []
            for suspect in found:
                rows += blame(root, suspect, trace, steps, answers[name]["environ"], sources)
        causes[name] = [row for number, row in enumerate(rows) if row not in rows[:number]]
    return causes


def find_suspects(
    root: Root,
    answer: Mapping[str, Any],
    start: Mapping[str, str],
    driver: Mapping[str, Any],
    devices: Sequence[Mapping[str, Any]],
) -> list[Suspect]:
    """What of a wrong answer its variables explain.

    :param start: the variables that the way began with.
    """
    environ, own = answer["environ"], driver.get("libcuda")
    searched = split_path(environ.get(LIBRARY_PATH))
    found = []
    if is_other_library(answer, driver):
        preloaded = [name for name in re.split(r"[:\s]+", environ.get(PRELOAD, "")) if "/libcuda.so" in name]
        found += [Suspect(PRELOAD, name) for name in preloaded if root.real(name) != own]
        for folder in searched:
            library = root.real(f"{folder}/{SONAME}")
            if own and library == own:
                break  # what comes after it does no harm
            if root.exists(library) and (own or library == answer["libcuda"]):
                found.append(Suspect(LIBRARY_PATH, folder))
    if not answer["libcuda"] and own:
        gone = [folder for folder in split_path(start.get(LIBRARY_PATH)) if folder not in searched]
        found += [
            Suspect(LIBRARY_PATH, folder, is_lost=True) for folder in gone if root.real(f"{folder}/{SONAME}") == own
        ]
    code = (answer["init"] or {}).get("code")
    if VISIBLE in environ and (code in HIDING_CODES or (code == 0 and has_fewer_devices(answer, devices))):
        found.append(Suspect(VISIBLE, None))
    return list(dict.fromkeys(found))


def start_trace(root: Root, way: Way, timeout: float) -> Started:
    """Run a way's shell once more, with its trace and without the probe."""
    if not way.shell:
        return Started(way, "", None, ())
    kind, home = shell_kind(root, way.shell), way.env["HOME"]
    if kind == "fish":
        patterns = [*FISH_FILES, *(f"{home}/{name}" for name in FISH_HOME_FILES)]
        return Started(way, kind, None, tuple(path for pattern in patterns for path in root.glob(pattern)))
    if kind == "bash":
        files = list_bash_files(root, way)
        words = [f"PS4={shlex.quote(PROMPTS[kind])}", f"BASH_XTRACEFD={TRACE_FD}", "set -x"]
        words += [f". {shlex.quote(file)}" for file in files]
        env = {name: value for name, value in way.env.items() if name != "BASH_ENV"}
        argv = [way.shell, "--noprofile", "--norc", *way.flags, "\n".join([*words, "set -x", ":"])]
    else:
        files = ["/etc/profile", f"{home}/.profile"] if kind == "sh" and way.flags == ("-lc",) else []
        options = ["-o", "xtrace", "-o", "promptsubst"] if kind == "zsh" else ["-x"]
        env = {**way.env, "PS4": PROMPTS[kind]}
        argv = [way.shell, *options, *way.flags, ":"]

    def body() -> int:
        os.dup2(1, 2)
        os.dup2(1, TRACE_FD)
        os.execve(argv[0], argv, env)

    return Started(way, kind, Child(body, timeout), tuple(files))


def shell_kind(root: Root, shell: str) -> str:
    """``bash``, ``zsh``, ``fish``, or ``sh`` for those that tell no more than it: by the program behind the name."""
    name = os.path.basename(root.real(shell))
    return name if name in ("bash", "fish", "zsh") else "sh"


def list_bash_files(root: Root, way: Way) -> list[str]:
    """The files that a bash reads at its start in a way, as its manual has it, in order; those that are there."""
    home, shell = way.env["HOME"], str(way.shell)
    if way.flags == ("-lc",):
        names = (".profile",) if os.path.basename(shell) == "sh" else (".bash_profile", ".bash_login", ".profile")
        own = next((f"{home}/{name}" for name in names if root.exists(f"{home}/{name}")), "")
        files = ["/etc/profile", own]
    elif os.path.basename(shell) == "sh":
        files = []
    else:
        program = root.read_bytes(root.real(shell))
        is_sshd = "SSH_CLIENT" in way.env and b"\0SSH_CLIENT\0" in program
        if way.flags == ("-ic",) or is_sshd:
            files = [path for path in SYSTEM_BASHRCS if b"\0" + path.encode() + b"\0" in program]
            files.append(f"{home}/.bashrc")
        else:
            files = [way.env.get("BASH_ENV", "")]
    return [file for file in files if file.startswith("/") and root.exists(file)]


def parse_trace(text: str) -> list[Step]:
    """The commands of a trace in order, without those of subshells, whose variables are their own."""
    steps = []
    parts = re.split(f"({BEGIN}+)", text)
    for marks, part in zip(parts[1::2], parts[2::2]):
        fields = part.split(SEP, 3 + len(CUDA_VARIABLES))
        if len(fields) < 4 + len(CUDA_VARIABLES) or fields[2] not in ("", "0"):
            continue
        values = tuple(None if value == UNSET else value for value in fields[3:-1])
        line = int(fields[1]) if fields[1].isdecimal() else 0
        steps.append(Step(fields[0], line, values, fields[-1].partition("\n")[0], len(marks)))
    return steps


def blame(
    root: Root,
    suspect: Suspect,
    trace: Started,
    steps: Sequence[Step],
    environ: Mapping[str, str],
    sources: Sources,
) -> list[Record]:
    """The contract's ``causes`` for one suspect: every setting that is behind the value which the way ended with.

    :param steps: of the trace; without any, or where it ended with another value than the way, files are searched.
    :param environ: what the way ended with.
    """
    way, name = trace.way, suspect.variable
    value = environ.get(name)
    position = CUDA_VARIABLES.index(name)
    start = way.env.get(name)
    found = [_origin(root, suspect.variable, start, sources)] if _has(suspect, start) and not suspect.is_lost else []
    if not way.shell:
        return found
    if not steps or (value is not None and steps[-1].values[position] != value):
        rows = [] if start == value else _search(root, name, trace.files, value)
        return [row for row in rows if (suspect.entry or value or "") in row["text"]] or found
    for number, (step, after) in enumerate(zip(steps, steps[1:])):
        before, now = step.values[position], after.values[position]
        if before == now and not _sets_again(root, name, step, way.env["HOME"]):
            continue
        if suspect.is_lost:
            if _has(suspect, before) and not _has(suspect, now):
                found = [_cause(root, suspect, trace, steps[: number + 1], now)]
        elif not _has(suspect, now):
            found = []
        else:
            row = _cause(root, suspect, trace, steps[: number + 1], now)
            if suspect.entry is None and before != now:
                found = [row]
            elif before == now or _count(suspect, now) > _count(suspect, before) or _replaces(row["text"], name):
                found.append(row)
    return found


def _has(suspect: Suspect, value: str | None) -> bool:
    return value is not None and (suspect.entry is None or _count(suspect, value) > 0)


def _count(suspect: Suspect, value: str | None) -> int:
    return re.split(r"[:\s]+", value or "").count(suspect.entry or "")


def _replaces(text: str, name: str) -> bool:
    """Whether a line sets the variable to something that does not go back to its former value."""
    return f"{name}=" in text and not re.search(rf"\$\{{?{name}\b", text)


def _sets_again(root: Root, name: str, step: Step, home: str) -> bool:
    """Whether a command that changed nothing set the variable to what it was: it would stay if the other one went."""
    if f"{name}=" not in step.command or not step.file:
        return False
    text = _locate(root, _absolute(root, step.file, home), step.line, name)[1]
    is_alone = re.fullmatch(rf"\s*{name}=(?:\"[^\"]*\"|'[^']*'|[^\s;&|]*)\s*(?:[;#].*)?", text)  # no command's own
    return bool(DECLARING.match(step.command) or is_alone) and _replaces(text, name)


def _cause(root: Root, suspect: Suspect, trace: Started, steps: Sequence[Step], value: str | None) -> Record:
    """The record of the last of the steps, which set the value."""
    name, home = suspect.variable, trace.way.env["HOME"]
    step = _find_call(root, steps, _find_line(root, steps, name, home), suspect, home)
    if step.file and not step.command.startswith("set +"):
        file = _absolute(root, step.file, home)
        return _row(name, value, file, *_locate(root, file, step.line, name))
    sourced = [match["file"].strip("'") for match in (SOURCING.match(step.command) for step in steps) if match]
    files = [step.file] if step.file else [*reversed(sourced), *reversed(trace.files)]
    rows = _search(root, name, [_absolute(root, file, home) for file in files], value)
    if step.line and not step.file:
        rows = [row for row in rows if row["line"] == step.line]
    named = [row for row in rows if (suspect.entry or value or "") in row["text"]]
    if named or len(rows) == 1:
        return (named or rows)[0]
    return _row(name, value, "", None, step.command)


def _find_line(root: Root, steps: Sequence[Step], name: str, home: str) -> Step:
    """The last step, or the one that ran it where it stands in no file: what eval was given, what a program wrote."""
    number = len(steps) - 1
    while True:
        step = steps[number]
        file = _absolute(root, step.file, home)
        is_lost = bool(step.file) and not root.is_file(file)
        outer = next((index for index in range(number - 1, -1, -1) if steps[index].depth < step.depth), None)
        if outer is None and step.file:  # a zsh, which does not tell how deep it is
            is_foreign = is_lost or name not in _locate(root, file, step.line, name)[1]
            earlier = range(number - 1, -1, -1) if is_foreign else range(0)
            outer = next((index for index in earlier if _runs(steps[index], step, is_lost=is_lost)), None)
        if outer is None or not (is_lost or EVALUATING.match(steps[outer].command)):
            return step
        number = outer


def _find_call(root: Root, steps: Sequence[Step], step: Step, suspect: Suspect, home: str) -> Step:
    """The step, or the call of a function that has the entry from its arguments: others call it as well."""

    def text(one: Step) -> str:
        return _locate(root, _absolute(root, one.file, home), one.line, suspect.variable)[1]

    if not suspect.entry or not step.file or suspect.entry in text(step) or not ARGUMENT.search(text(step)):
        return step
    calls = (one for one in reversed(steps[:-1]) if one.file and suspect.entry in one.command)
    return next((one for one in calls if not ARGUMENT.search(text(one))), step)


def _runs(outer: Step, step: Step, *, is_lost: bool) -> bool:
    """Whether an earlier step may be the one that ran a later one: it sourced its file, or evaluated its text."""
    if is_lost:
        return outer.file != step.file
    length = outer.command.count("\\n") + 1  # lines, as a zsh quotes them; it counts them on from its own
    return bool(EVALUATING.match(outer.command)) and outer.file == step.file and 0 < step.line - outer.line <= length


def _search(root: Root, name: str, files: Sequence[str], value: str | None) -> list[Record]:
    """Every line of the files that seems to set the variable."""
    return [
        _row(name, value, file, number, line)
        for file in dict.fromkeys(files)
        for number, line in enumerate(_lines(root, file), 1)
        if _assigns(line, name)
    ]


def _lines(root: Root, file: str) -> list[str]:
    """The lines of a file; none of what is no file, such as a pipe."""
    return root.read(file).splitlines() if root.is_file(file) else []


def _assigns(line: str, name: str) -> bool:
    """Whether a line of any shell's file seems to set the variable."""
    return bool(re.search(rf"^[^#]*(?:\b{name}\+?=|\bset\b[^#;]*\s{name}\b|^SETUVAR\b.*\b{name}:)", line))


def _origin(root: Root, name: str, value: str | None, sources: Sources) -> Record:
    """Where a variable has its value from before any shell: PAM, else the container's image."""
    if name not in sources.pam:
        return _row(name, value, FIRST, None, f"{name}={value}")
    text = root.read(PAM_ENVIRONMENT)
    numbers = [number for number, other, _value in list_pam_lines(text) if other == name]
    if not numbers:  # it was changed since
        return _row(name, value, PAM_ENVIRONMENT, None, f"{name}={value}")
    return _row(name, value, PAM_ENVIRONMENT, numbers[-1], text.splitlines()[numbers[-1] - 1])


def _absolute(root: Root, file: str, home: str) -> str:
    """The file of a step, which a shell names as it was sourced."""
    return (
        file
        if file.startswith("/")
        else next((path for path in (f"{home}/{file}", os.path.abspath(file)) if root.exists(path)), file)
    )


def _locate(root: Root, file: str, number: int, name: str) -> tuple[int, str]:
    """A line's number and text; of a command that goes over several, of the one that names the variable."""
    lines = _lines(root, file)
    if not 0 < number <= len(lines):
        return number, ""
    first = last = number
    while first > 1 and lines[first - 2].endswith("\\"):
        first -= 1
    while last < len(lines) and lines[last - 1].endswith("\\"):
        last += 1
    found = next((line for line in range(first, last + 1) if name in lines[line - 1]), number)
    return found, lines[found - 1]


def _row(name: str, value: str | None, file: str, line: int | None, text: str) -> Record:
    return {"variable": name, "value": value or "", "file": file, "line": line, "text": text.strip()}
