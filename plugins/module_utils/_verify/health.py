# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GPUs' readings mean: readings and the catalogue's rules in, findings out. Nothing here reads anything.

A finding is ``{device, item, severity, text}`` and, where due, ``advice``. What could not be read is of severity
``unknown``, with the reason; it is never taken for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.module_utils._host.nvml import (
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    LIB_RM_VERSION_MISMATCH,
    NO_PERMISSION,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    TIMEOUT,
)

Record = dict[str, Any]
Finding = dict[str, Any]
Rules = Mapping[str, Mapping[str, Mapping[str, Any]]]

SEVERITIES = ("ok", "note", "unknown", "warning", "failure")
GRADES = ("failure", "warning", "note")
RETURN = "Return this pod."
UNKNOWN_XID = "Look it up in NVIDIA's list of Xids; if it recurs, return this pod."

# nvmlReturn_t → why there is no value
REASONS: Mapping[int, str] = {
    NOT_SUPPORTED: "not supported by this GPU or under this virtualization",
    NO_PERMISSION: "no permission",
    TIMEOUT: "the driver did not answer in time",
    FUNCTION_NOT_FOUND: "not available with this driver",
    GPU_IS_LOST: "the GPU has fallen off the bus",
    RESET_REQUIRED: "the GPU needs a reset",
}
# What of these codes is itself a failure of the GPU, and what to do.
LOST: Mapping[int, str] = {
    GPU_IS_LOST: "Return this pod; on your own machine, restart it and check power, cooling and seating.",
    RESET_REQUIRED: "Reset the GPU, or return this pod.",
}
# nvmlInit's code → what is wrong, and what to do
INIT: Mapping[int, tuple[str, str]] = {
    DRIVER_NOT_LOADED: ("the kernel driver is not loaded", "Load it, or ask for another host."),
    NO_PERMISSION: ("no permission", "Allow the container or the user to open /dev/nvidia*."),
    LIB_RM_VERSION_MISMATCH: (
        "the driver's libraries do not match the loaded kernel driver",
        "Restart the host, or the container on it: the driver was upgraded.",
    ),
    GPU_IS_LOST: ("a GPU has fallen off the bus", RETURN),
}
COUNTERS = (
    ("ecc", ("ecc_corrected", "ecc_uncorrected", "ecc_corrected_ever", "ecc_uncorrected_ever", "sram_exceeded")),
    ("rows", ("rows_corrected", "rows_uncorrected", "rows_pending", "rows_failure")),
    ("pages", ("pages_retired", "pages_pending")),
    ("pcie", ("pcie_replays",)),
)
LINK_COUNTERS = ("replays", "recoveries", "crc")
FABRIC_STATES = {0: "not supported", 1: "not started", 2: "in progress", 3: "completed"}
# Two bits each of the fabric's health mask, 1: true.
FABRIC_HEALTH = (
    (0, "degraded bandwidth"),
    (2, "a route in recovery"),
    (4, "an unhealthy route"),
    (6, "access timeouts"),
)


def judge_health(readings: Mapping[str, Any], rules: Rules) -> list[Finding]:
    """All findings, device by device.

    :param readings: what ``_verify_readings.read_health`` answered, with a library loaded.
    :param rules: the catalogue's ``health``.
    """
    if readings["init"]:
        words, advice = INIT.get(readings["init"], (f"error {readings['init']}", RETURN))
        return [_finding(None, "driver", "failure", f"NVML initialization failed: {words}", advice)]
    if not readings["devices"]:
        return [_finding(None, "driver", "failure", "NVML finds no GPU", "Start the container with its GPU.")]
    count = len(readings["devices"])
    findings: list[Finding] = []
    for device in readings["devices"]:
        if "code" in device:
            findings.append(judge_silence(device))
        else:
            findings += judge_device(device, readings["xids"], rules, count=count)
    return findings + judge_load(readings["load"])


def judge_silence(device: Mapping[str, Any]) -> Finding:
    """A GPU that gives no handle."""
    code = device["code"]
    words = REASONS.get(code, f"NVML error {code}")
    return _finding(device["index"], "device", "failure", f"it does not respond: {words}", LOST.get(code, RETURN))


def judge_device(
    device: Mapping[str, Any], xids: Mapping[str, Sequence[int]] | None, rules: Rules, *, count: int
) -> list[Finding]:
    """The findings of one device that answers; ``count`` is how many there are."""
    index, facts, rest, load = device["index"], device["facts"], device["rest"], device["load"]
    limits = rules["limits"]
    findings = []
    if load and load["busy_percent"].get("value", 100) < limits["busy_percent"]["warning"]:
        text = limits["busy_percent"]["what"].format(value=f"{load['busy_percent']['value']:g}")
        findings.append(_finding(index, "load", "unknown", f"nothing was measured under load: {text}"))
        load = None
    findings += list(judge_xids(index, device["pci_id"], xids, device["events"], rules["xids"]))
    findings.append(judge_recovery(index, facts["recovery_action"], rules["recovery_actions"]))
    findings.append(judge_ecc_mode(index, facts["ecc"]))
    for item, names in COUNTERS:
        if not _is_replaced(item, facts):
            findings += [grade(index, item, name_count(limits[name]), facts[name], limits[name]) for name in names]
    findings += judge_reasons(index, rest, load, rules)
    findings += judge_clocks(index, facts, load, limits)
    findings += judge_power(index, facts, rest, load, limits)
    findings += judge_temperature(index, facts, load or rest, limits)
    findings += judge_pcie(index, facts, rest, load, limits)
    findings += judge_links(index, device["links"], limits, count=count)
    findings.append(judge_fabric(index, device["fabric"]))
    findings.append(judge_persistence(index, facts["persistence"]))
    return findings


def judge_load(load: Mapping[str, Any] | None) -> list[Finding]:
    """That a load was wanted and did not run."""
    if not load or "error" not in load:
        return []
    return [_finding(None, "load", "unknown", f"nothing was measured under load: {load['error'].rstrip('.')}")]


def judge_xids(
    index: int,
    pci_id: str | None,
    xids: Mapping[str, Sequence[int]] | None,
    events: Mapping[str, Any] | None,
    rows: Mapping[str, Mapping[str, Any]],
) -> Iterator[Finding]:
    """The driver's error reports: those of the kernel's log, and those raised during the proof, one step graver."""
    if xids is None:
        yield _finding(index, "xid", "unknown", "earlier Xids: the kernel log cannot be read here")
    elif pci_id is None:
        yield _finding(index, "xid", "unknown", "earlier Xids: the GPU's bus address is unknown")
    else:
        logged = Counter(xids.get(pci_id.split(".")[0], ()))
        if not logged:
            yield _finding(index, "xid", "ok", "no Xid in the kernel log")
        for code, times in sorted(logged.items()):
            yield _xid(index, code, f"{_times(times)} in the kernel log", rows, steps=0)
    if events is not None and "code" in events:
        yield _unknown(index, "xid", "Xids during the load", events)
    for code, times in sorted(Counter((events or {}).get("value", ())).items()):
        yield _xid(index, code, f"{_times(times)} during the load", rows, steps=1)


def _xid(index: int, code: int, when: str, rows: Mapping[str, Mapping[str, Any]], *, steps: int) -> Finding:
    row = rows.get(str(code))
    if not row:
        severity = ("warning", "failure")[steps]
        return _finding(index, "xid", severity, f"Xid {code}, {when}", UNKNOWN_XID)
    severity = row["severity"] if not steps else {"note": "warning"}.get(row["severity"], "failure")
    return _finding(index, "xid", severity, f"Xid {code} ({row['name']}), {when}: {row['cause']}", row["remedy"])


def judge_recovery(index: int, reading: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    """What the driver says would repair the GPU."""
    if "code" in reading:
        return _unknown(index, "recovery", "the recovery action", reading)
    if not reading["value"]:
        return _finding(index, "recovery", "ok", "the driver requests no recovery")
    row = rows.get(str(reading["value"]))
    if not row:
        return _finding(index, "recovery", "failure", f"the driver requests recovery action {reading['value']}", RETURN)
    return _finding(index, "recovery", row["severity"], f"the driver asks to {row['name']}", row["remedy"])


def judge_ecc_mode(index: int, reading: Mapping[str, Any]) -> Finding:
    """Whether memory errors are corrected at all."""
    if "code" in reading:
        return _unknown(index, "ecc", "whether memory errors are corrected (ECC)", reading)
    if reading["value"]:
        return _finding(index, "ecc", "ok", "ECC is on")
    advice = "Ask the owner to turn it on; without it, bit flips in memory go unnoticed."
    return _finding(index, "ecc", "note", "ECC is off", advice)


def grade(
    index: int, item: str, name: str, reading: Mapping[str, Any], row: Mapping[str, Any], place: str = ""
) -> Finding:
    """A value against its row of limits, the gravest that it meets.

    ``name`` is what a sentence calls a value that could not be read; ``place`` goes before the words.
    """
    what = row["what"]
    if "code" in reading:
        return _unknown(index, item, place + name, reading)
    value = reading["value"]
    text = place + what.format(value=value)
    for severity in GRADES:
        bound = row[severity]
        if bound is not None and (value < bound if row.get("below") else value >= bound):
            return _finding(index, item, severity, text, row["remedy"])
    return _finding(index, item, "ok", text)


def _is_replaced(item: str, facts: Mapping[str, Any]) -> bool:
    """Whether this GPU retires pages instead of replacing rows, or the other way round: each does one of them."""
    twin = {"pages": ("pages_retired", "rows_failure"), "rows": ("rows_failure", "pages_retired")}.get(item)
    return twin is not None and facts[twin[0]].get("code") == NOT_SUPPORTED and "value" in facts[twin[1]]


def name_count(row: Mapping[str, Any]) -> str:
    """What a row counts: its words before the number."""
    return str(row["what"]).partition(":")[0].replace(" (1 is yes)", "")


def judge_reasons(
    index: int, rest: Mapping[str, Any], load: Mapping[str, Any] | None, rules: Rules
) -> Iterator[Finding]:
    """Why the clocks are not higher: at rest, and in how much of the time under load."""
    rows, least = rules["clock_reasons"], rules["limits"]["clock_reason_percent"]["warning"]
    if "code" in rest["reasons"]:
        yield _unknown(index, "clocks", "the clock limit reasons at rest", rest["reasons"])
    else:
        mask = rest["reasons"]["value"]
        shares = {str(1 << place): 100 for place in range(64) if mask >> place & 1}
        yield from _reasons(index, shares, "rest", rows, least)
    if load and "code" in load["reasons"]:
        yield _unknown(index, "clocks", "the clock limit reasons under load", load["reasons"])
    elif load:
        yield from _reasons(index, load["reasons"]["value"], "load", rows, least)


def _reasons(
    index: int, shares: Mapping[str, int], when: str, rows: Mapping[str, Mapping[str, Any]], least: int
) -> Iterator[Finding]:
    where = {"rest": "at rest", "load": "under load"}[when]
    if not shares:
        yield _finding(index, "clocks", "ok", f"nothing limits the clocks {where}")
    for bit, share in sorted(shares.items(), key=lambda pair: int(pair[0])):
        part = f" in {share} percent of the samples" if when == "load" else ""
        row = rows.get(bit)
        if not row:
            text = f"the clocks are limited {where}{part} for an unlisted reason (bit {bit})"
            yield _finding(index, "clocks", "warning", text, "Look it up in NVIDIA's list of clock event reasons.")
            continue
        severity = row[when] if share >= least or row[when] == "ok" else "note"
        yield _finding(index, "clocks", severity, f"{row['name']} {where}{part}: {row['cause']}", row["remedy"])


def judge_clocks(
    index: int, facts: Mapping[str, Any], load: Mapping[str, Any] | None, limits: Mapping[str, Any]
) -> Iterator[Finding]:
    """The clocks under load against the GPU's maximum."""
    if not load:
        return
    for name, words in (("sm", "SM"), ("memory", "memory")):
        reading = _percent(load[f"{name}_mhz"], facts[f"{name}_max_mhz"])
        found = grade(index, "clocks", f"the {words} clock under load", reading, limits[f"{name}_clock_percent"])
        if "value" in reading:
            found["text"] += f" ({load[f'{name}_mhz']['value']:g} of {facts[f'{name}_max_mhz']['value']} MHz)"
        yield found


def judge_power(
    index: int, facts: Mapping[str, Any], rest: Mapping[str, Any], load: Mapping[str, Any] | None, limits: Any
) -> Iterator[Finding]:
    """The limit against the default, and what is drawn."""
    limit = facts["power_limit_w"]
    yield grade(
        index, "power", "the power limit", _percent(limit, facts["power_default_w"]), limits["power_limit_percent"]
    )
    for when, sample in (("at rest", rest), ("under load", load)):
        if not sample:
            continue
        drawn = sample["power_w"]
        if "code" in drawn:
            yield _unknown(index, "power", f"the power {when}", drawn)
        else:
            of = f" of {limit['value']:g}" if "value" in limit else ""
            yield _finding(index, "power", "ok", f"{drawn['value']:g}{of} W {when}")


def judge_temperature(
    index: int, facts: Mapping[str, Any], sample: Mapping[str, Any], limits: Mapping[str, Any]
) -> Iterator[Finding]:
    """How far the GPU is from where its clocks are lowered."""
    heat, slowdown = sample["temperature_c"], facts["slowdown_c"]
    if "code" in heat:
        yield _unknown(index, "temperature", "the temperature", heat)
    else:
        yield _finding(index, "temperature", "ok", f"{heat['value']} °C")
    margin = sample["margin_c"]
    if "code" in margin and "value" in heat and slowdown.get("value"):
        margin = {"value": slowdown["value"] - heat["value"]}
    yield grade(index, "temperature", "the margin to thermal slowdown", margin, limits["margin_c"])


def judge_pcie(
    index: int, facts: Mapping[str, Any], rest: Mapping[str, Any], load: Mapping[str, Any] | None, limits: Any
) -> Iterator[Finding]:
    """The link against what GPU and slot can do; at rest a lower generation saves power and says nothing."""
    sample = load or rest
    generation, best = sample["pcie_generation"], facts["pcie_max_generation"]
    lost = _missing(generation, best) or {"value": best["value"] - generation["value"]}
    if not load and lost.get("value"):
        text = f"PCIe generation {generation['value']} of {best['value']} at rest, when links save power"
        yield _finding(index, "pcie", "note", text, "Measure under load, at level full.")
    else:
        found = grade(index, "pcie", "the PCIe generation", lost, limits["pcie_generations_lost"])
        if found["severity"] == "ok":
            found["text"] = f"PCIe generation {generation['value']} of {best['value']}"
        yield found
    width = _percent(sample["pcie_width"], facts["pcie_max_width"])
    yield grade(index, "pcie", "the PCIe width", width, limits["pcie_width_percent"])


def judge_links(
    index: int, links: Sequence[Mapping[str, Any]], limits: Mapping[str, Any], *, count: int
) -> Iterator[Finding]:
    """NVLink: some links up and others down is a defect; all down is one only where there are GPUs to link."""
    refused = next((link["state"] for link in links if "code" in link["state"]), None)
    if refused:
        yield _unknown(index, "nvlink", "the NVLinks", refused)
        return
    if not links:
        yield _finding(index, "nvlink", "ok", "NVML reports no NVLink")
        return
    down = [link["link"] for link in links if not link["state"]["value"]]
    listed = ", ".join(map(str, down))
    if not down:
        yield _finding(index, "nvlink", "ok", f"all NVLinks ({len(links)}) are up")
    elif len(down) < len(links):
        text = f"{len(down)} of {len(links)} NVLinks are down ({listed})"
        yield _finding(index, "nvlink", "failure", text, "Reset the GPU, or return this pod.")
    elif count > 1:
        advice = "NVLink between GPUs needs its bridge or the fabric manager; use another pod if it matters."
        yield _finding(index, "nvlink", "warning", f"all NVLinks ({len(links)}) are down", advice)
    else:
        yield _finding(index, "nvlink", "note", f"all NVLinks ({len(links)}) are down; there is no second GPU here")
    for link in links:
        for name in LINK_COUNTERS:
            words = name_count(limits[name])
            found = grade(index, "nvlink", words, link[name], limits[name], f"NVLink {link['link']}: ")
            if found["severity"] != "ok":
                yield found


def judge_fabric(index: int, reading: Mapping[str, Any]) -> Finding:
    """Whether the NVSwitch fabric has taken the GPU in; without that no CUDA program starts there."""
    if "code" in reading:
        if reading["code"] == NOT_SUPPORTED:
            return _finding(index, "fabric", "ok", "NVML reports no NVSwitch fabric")
        return _unknown(index, "fabric", "the NVSwitch fabric", reading)
    state, status, health = (reading["value"][name] for name in ("state", "status", "health"))
    words = FABRIC_STATES.get(state, f"in state {state}")
    if state == 0:
        return _finding(index, "fabric", "ok", "NVML reports no NVSwitch fabric")
    if state != 3 or status:
        told = f"the NVSwitch fabric is {words}" + (f", with error {status}" if status else "")
        advice = "Start nvidia-fabricmanager, in the driver's own version, on the host, or return this pod."
        return _finding(index, "fabric", "failure", told, advice)
    bad = [name for shift, name in FABRIC_HEALTH if health is not None and health >> shift & 3 == 1]
    if bad:
        return _finding(index, "fabric", "failure", f"the NVSwitch fabric reports {', '.join(bad)}", RETURN)
    return _finding(index, "fabric", "ok", "the NVSwitch fabric is up")


def judge_persistence(index: int, reading: Mapping[str, Any]) -> Finding:
    """Whether the driver stays loaded between programs."""
    if "code" in reading:
        return _unknown(index, "persistence", "the persistence mode", reading)
    if reading["value"]:
        return _finding(index, "persistence", "ok", "persistence mode is on")
    advice = "On your own machine run nvidia-persistenced: programs start seconds faster."
    return _finding(index, "persistence", "note", "persistence mode is off", advice)


def pick(findings: Iterable[Finding], *severities: str) -> list[Finding]:
    """The findings of these severities."""
    return [finding for finding in findings if finding["severity"] in severities]


def say(finding: Finding) -> str:
    """A finding as a sentence, with its GPU."""
    owner = "" if finding["device"] is None else f"GPU {finding['device']}: "
    sentence = f"{owner}{finding['text']}"
    return sentence if sentence.endswith(".") else f"{sentence}."


def say_unknown(findings: Iterable[Finding]) -> list[str]:
    """What could not be read, in one sentence for each GPU and reason."""
    groups: dict[tuple[Any, str], list[str]] = {}
    told = []
    for finding in pick(findings, "unknown"):
        if "reason" in finding:
            groups.setdefault((finding["device"], finding["reason"]), []).append(finding["what"])
        else:
            told.append(say(finding))
    return told + [f"Unknown for GPU {device}: {', '.join(names)} ({why})." for (device, why), names in groups.items()]


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _percent(part: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    missing = _missing(part, whole)
    if missing:
        return missing
    return {"value": round(100 * part["value"] / whole["value"])} if whole["value"] else {"code": NOT_SUPPORTED}


def _missing(*readings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first of these that has no value."""
    return next((reading for reading in readings if "code" in reading), None)


def _unknown(index: int, item: str, what: str, reading: Mapping[str, Any]) -> Finding:
    code = reading["code"]
    if code in LOST:
        return _finding(index, item, "failure", f"{what} cannot be read: {REASONS[code]}", LOST[code])
    reason = REASONS.get(code, f"NVML error {code}")
    return {**_finding(index, item, "unknown", f"{what}: {reason}"), "what": what, "reason": reason}


def _finding(device: int | None, item: str, severity: str, text: str, advice: str | None = None) -> Finding:
    found = {"device": device, "item": item, "severity": severity, "text": text}
    return {**found, "advice": advice} if advice and severity != "ok" else found
