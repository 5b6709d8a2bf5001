# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of CUDA means, by its code or by what a program printed, and by what is known of the host. Pure.

The planner explains with it what a probe answered, the proof what a check printed. Both pass the catalogue's rows
(``drivers.yml``, section ``errors``): code in digits → ``{name, also, words, vague, cause, remedy, sure, causes}``.

A context says what is known where the error was met; what is absent or None is unknown:

* ``where``: ``probe`` (cuInit of a fresh process) or ``program``
* ``kind``, ``flavor``: as in the facts; a container on WSL2 is ``wsl2``
* ``engine``: what runs a container, as ``platform.container.engine`` in the facts
* ``compat_active``, ``mig``: booleans; ``slices``: the number of MIG slices; ``gpus``: the number that NVML counts
* ``model``: NVML's name of the GPUs, where all have the same
* ``driver``, ``libcuda``: versions of the kernel driver and of the library that was loaded
* ``visible_devices``: CUDA_VISIBLE_DEVICES; here None says that it is not set, only an absent key is unknown
* ``device_files``: ``present`` or ``missing``
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import error_name, list_visible

Record = dict[str, Any]
Rows = Mapping[str, Mapping[str, Any]]

# From here on a number after the word "error" is CUDA's alone; below it may be an errno, an exit status, or HTTP's.
ALONE = 800
CONSUMER = ("geforce", "titan")  # in NVML's name of GPUs that never support forward compatibility
# A number that goes on, or that counts something: 802 MiB, 35%, 100.5
_NO_CODE = r"(?![\w.,]*\d|\w|\s*(?:[KMGTP]i?B|[KMGT]?Hz|[mun]?s|[KMGT]?bit|bytes|files|errors|warnings)\b|\s*[%°])"
# What a number must stand behind to be a code of CUDA; cuBLAS and cuDNN, which have codes of their own, match none.
_CODES = (
    rf"(?i:\bcuda\b[\w ]{{0,40}}?\b(?:error|failure)\b\s*[:=(#]*\s*)(?P<code>\d+){_NO_CODE}",
    rf"\bcu(?:da)?[A-Z]\w+(?:\(\w*\))?\s+(?:returned|failed with(?: error)?|failed:|->)\s*(?P<code>\d+){_NO_CODE}",
    r"\bcode\s*=\s*(?P<code>\d+)\s*\(cuda",
)
_ALONE = rf"(?<!HTTP )(?<!http )\b[Ee]rror (?P<code>\d+)(?=[:)\]]){_NO_CODE}"
_NAME = r"\b(?P<name>CUDA_ERROR_[A-Z0-9_]+|cudaError[A-Z]\w+)\b"
_CUDA = re.compile(r"cuda|\bcu[A-Z]\w+|nvrtc", re.IGNORECASE)  # what a line mentions whose error is CUDA's
_CALL = re.compile(r"cu(?:da)?[A-Z]")  # calls of the driver and of the runtime, whose codes these are


def explain_error(error: int | str, context: Mapping[str, Any], rows: Rows) -> Record | None:
    """What an error means here: ``{code, name, cause, remedy, sure}`` and, where it may be several things, ``causes``.

    ``error`` is a code, or what a program printed; None where a text has no error of CUDA in it. ``cause`` and
    ``remedy`` are whole sentences. ``sure`` is the catalogue's letter; it is ``C`` where ``causes`` is there, for which
    of them it is nobody can say from here. They come in the catalogue's order, the most frequent first, each as
    ``{cause, tell, remedy, sure, source}``; what the context rules out is left out.
    """
    text = error if isinstance(error, str) else ""
    code = str(error) if isinstance(error, int) else find_cuda_error(error, rows)
    if code is None:
        return None
    row = rows.get(code)
    if row is None:
        return _unknown(int(code))
    seen = _describe(context)
    causes: Sequence[Mapping[str, Any]] = row.get("causes") or ()
    possible = [cause for cause in causes if _fits(cause, seen)]
    decided = [cause for cause in causes if any(_holds(word, text) for word in cause.get("words") or ())]
    decided += [cause for cause in possible if cause.get("decides") and _is_known(cause, seen)]
    found: Record = {"code": int(code), "name": row["name"]}
    if decided:
        return {**found, **{key: decided[0][key] for key in ("cause", "remedy", "sure")}}
    if not possible:
        return {**found, "cause": row["cause"], "remedy": row["remedy"], "sure": row.get("sure", "C")}
    told = [{key: cause[key] for key in ("cause", "tell", "remedy", "sure", "source")} for cause in possible]
    cause, remedy = _list(row, told)
    return {**found, "cause": cause, "remedy": remedy, "sure": "C", "causes": told}


def _unknown(code: int) -> Record:
    name = error_name(code)
    return {
        "code": code,
        "name": name,
        "cause": f"CUDA answered {code}, which the catalogue does not explain.",
        "remedy": "Look it up in NVIDIA's list of CUresult, and for lines of NVRM and Xid in the kernel log (dmesg).",
        "sure": "C",
    }


def _list(row: Mapping[str, Any], causes: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The causes and the remedies in one text each, so that a reader sees which remedy is for which cause."""
    if len(causes) == 1:
        (one,) = causes
        cause = f"{row['cause']} Possible cause: {one['cause']} {one['tell']}"
        return cause, f"If it is that: {one['remedy']} Else: {row['remedy']}"
    numbered = list(enumerate(causes, 1))
    cause = " ".join(f"({number}) {one['cause']} {one['tell']}" for number, one in numbered)
    remedy = " ".join(f"({number}) {one['remedy']}" for number, one in numbered)
    return (
        f"{row['cause']} Possible causes, the most frequent first: {cause}",
        f"{remedy} If it is none of these: {row['remedy']}",
    )


# --- which error a text names ---


def find_cuda_error(text: str, rows: Rows) -> str | None:
    """The code of the error that a text names, in digits; None where it names none that ``rows`` has.

    Codes and names weigh more than words, for these are some error's alone; among equals the longest match counts, then
    the earliest. Words that others print as well (``vague``: "unknown error") count where their line mentions CUDA, or
    where they are the whole text.
    """
    plain = text.strip()
    if plain.isdigit():
        return plain if plain in rows else None
    exact = [found for found in _exact(text, rows) if found[2] in rows]
    found = exact or list(_worded(text, rows))
    return max(found, key=lambda one: (one[0], -one[1]))[2] if found else None


def _exact(text: str, rows: Rows) -> Iterator[tuple[int, int, str]]:
    """Length, place and code of each code and each name of an error."""
    names = {name: code for code, row in rows.items() for name in (row["name"], *(row.get("also") or ()))}
    for pattern in (*_CODES, _ALONE, _NAME):
        for match in re.finditer(pattern, text):
            groups = match.groupdict()
            code = groups.get("code") or names.get(groups.get("name") or "", "")
            if code and (pattern != _ALONE or int(code) >= ALONE):
                yield len(match[0]), match.start(), code
    for match in re.finditer(r"^\{.*\}$", text, re.MULTILINE):
        code = _record_code(match[0])
        if code:
            yield len(match[0]), match.start(), code


def _record_code(line: str) -> str | None:
    """The code in a line of JSON that a program of ours printed, unless it is of another library's call."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    code = record.get("code") if isinstance(record, dict) else None
    if not isinstance(code, int) or not _CALL.match(str(record.get("call", "cuInit"))):
        return None
    return str(code)


def _worded(text: str, rows: Rows) -> Iterator[tuple[int, int, str]]:
    """Length, place and code of each error in words."""
    for code, row in rows.items():
        own = [
            *(row.get("words") or ()),
            *(word for cause in row.get("causes") or () for word in cause.get("words", ())),
        ]
        for word in own:
            for match in _matches(word, text):
                yield len(word), match.start(), code
        for word in row.get("vague") or ():
            for match in _matches(word, text):
                begin, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
                line = text[begin : end if end >= 0 else len(text)]
                if (_CUDA.search(line) and "errno" not in line.lower()) or text.strip(
                    " \n.:'\""
                ).lower() == word.lower():
                    yield len(word), match.start(), code


def _matches(words: str, text: str) -> Iterable[re.Match[str]]:
    """Where a text has these words, whatever their case and however its lines are broken."""
    pattern = r"\s+".join(re.escape(word) for word in words.split())
    return re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE)


def _holds(words: str, text: str) -> bool:
    return any(True for _match in _matches(words, text))


# --- what the context says ---


def _describe(context: Mapping[str, Any]) -> Record:
    """The context in the words that the catalogue's conditions use; None for what is unknown."""
    visible = judge_visible(context["visible_devices"], context.get("gpus")) if "visible_devices" in context else None
    library = compare_library(context.get("libcuda"), context.get("driver"))
    model = str(context.get("model") or "").lower()
    consumer = any(word in model for word in CONSUMER) if model else None
    return {**context, "visible": visible, "library": library, "consumer": consumer}


def _fits(cause: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Whether nothing speaks against a cause: each condition lists the values that it allows, null for unknown."""
    return all(seen.get(key) in allowed for key, allowed in (cause.get("when") or {}).items())


def _is_known(cause: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Whether all that a cause depends on is known."""
    return all(seen.get(key) is not None for key in cause.get("when") or {})


def judge_visible(value: str | None, gpus: int | None) -> str:
    """What CUDA_VISIBLE_DEVICES does: ``all`` (not set), ``hides`` every GPU, ``repeats`` one, or ``names`` some."""
    if value is None:
        return "all"
    taken = list_visible(value, gpus)
    return "hides" if not taken else "repeats" if len(set(taken)) < len(taken) else "names"


def compare_library(libcuda: str | None, driver: str | None) -> str | None:
    """Whether the libcuda that was loaded is ``same``, ``older`` or ``newer`` than the kernel driver; None: unknown."""
    numbers = [
        [int(part) for part in version.split(".")] if re.fullmatch(r"\d+(\.\d+)+", version) else []
        for version in (libcuda or "", driver or "")
    ]
    if not all(numbers):
        return None
    return "same" if numbers[0] == numbers[1] else "older" if numbers[0] < numbers[1] else "newer"
