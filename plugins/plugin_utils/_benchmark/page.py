# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A judged benchmark as one page of HTML that needs nothing else: tables, and plots where matplotlib is installed."""

from __future__ import annotations

import html
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.podsmith.gpu.plugins.plugin_utils._benchmark.judge import figure
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None

Case = Mapping[str, Any]

TITLES = {
    "attention": "Scaled dot product attention",
    "gemm": "GEMM: products of square matrices",
    "batched_gemm": "Batched GEMM",
    "linear": "Linear layers",
    "conv2d": "2-D convolutions",
    "depthwise": "Depthwise convolutions",
    "layer_norm": "Layer normalisation",
    "softmax": "Softmax",
    "memory": "Device memory",
    "transfer": "Copies between host and device",
    "peer": "Copies from device to device",
    "all_reduce": "All-reduce, bus bandwidth",
    "resnet50": "ResNet-50, inference",
    "encoder": "Transformer encoder, inference",
    "compile": "torch.compile, times faster than eager",
}
NO_PLOTS = "The plots are missing: matplotlib is not installed on the controller. <code>make report</code> installs it."
METHOD = (
    "Each operation was compared with a reference of higher precision before it was timed. Times are medians; FLOP are "
    "those that the operation needs, for causal attention half of the square and half of its diagonal. Peaks are dense "
    "figures of the data sheets; a GPU may exceed them where it clocks higher."
)
BAR, MARKS = "#4878a8", ("#d1495b", "#edae49", "#2e8b57", "#7b5ea7", "#8c6d46")
STYLE = """
body { font: 15px/22px system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }
h1 { font-size: 26px } h2 { font-size: 19px; margin-top: 35px }
table { border-collapse: collapse; width: 100%; font-size: 13px }
td, th { text-align: left; padding: .2rem .6rem; border-bottom: 1px solid #dde3ea }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.ok { color: #1a7f37 } .failed { color: #b3261e } .plot svg { max-width: 100%; height: auto } code { font-size: 13px }
"""


def render_page(judged: Mapping[str, Any], host: str, known: Catalogue) -> str:
    """The page of a judged result (see ``_benchmark.judge``)."""
    cases = judged["cases"]
    families = [name for name in TITLES if any(case["family"] == name for case in cases)]
    verdict = judged["verdict"]
    word = "ok" if verdict["ok"] else "failed"
    parts = [
        f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{escape(host)}: benchmark</title>",
        f"<style>{STYLE}</style><h1>Benchmark of {escape(host)}: <span class={word}>{word}</span></h1>",
        f"<p>{escape(judged['time'])}, level {escape(judged['level'])}, {judged.get('seconds') or 0:.0f} s.</p>",
        bullets([finding["text"] for finding in verdict["findings"]], "failed"),
        bullets(verdict["notes"], "note"),
        devices_table(judged),
        settings_table(judged),
        "" if HAS_MATPLOTLIB else f"<p>{NO_PLOTS}</p>",
        *(family_part(name, [case for case in cases if case["family"] == name]) for name in families),
        references_part(known),
        f"<p>{METHOD}</p></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def escape(text: object) -> str:
    """Text as HTML, an en dash for None."""
    return "–" if text is None else html.escape(str(text))


def bullets(sentences: Sequence[str], css: str) -> str:
    """A list of sentences, nothing where there is none."""
    if not sentences:
        return ""
    return f"<ul class={css}>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: frozenset[int] = frozenset()) -> str:
    """A table of cells that are HTML already; ``numbers`` are the columns set to the right."""

    def line(tag: str, cells: Sequence[str]) -> str:
        marked = (f"<{tag}{' class=n' if at in numbers else ''}>{cell}</{tag}>" for at, cell in enumerate(cells))
        return "<tr>" + "".join(marked) + "</tr>"

    return "<table>" + line("th", head) + "".join(line("td", row) for row in rows) + "</table>"


def devices_table(judged: Mapping[str, Any]) -> str:
    """What the devices are, with their clocks, power and temperature before and after."""
    rows = []
    for device in judged["devices"]:
        states = [describe(device.get(when)) for when in ("before", "after")]
        memory = f"{device['memory_mib'] / 1024:.0f} GiB" if device.get("memory_mib") else "–"
        pcie = f"{escape(device.get('pcie_generation'))} x{escape(device.get('pcie_lanes'))}"
        limit = f"{device['power_limit_w']:.0f} W" if device.get("power_limit_w") else "–"
        cells = (device["index"], device["name"], memory, limit, device.get("nvlinks"))
        rows.append([*map(escape, cells), pcie, *states])
    head = ["GPU", "Name", "Memory", "Power limit", "NVLinks", "PCIe", "Before", "After"]
    links = [f"GPU {link['from']} → GPU {link['to']}: {link['link']}" for link in judged.get("links", [])]
    return "<h2>Devices</h2>" + table(head, rows) + bullets(links, "links")


def describe(state: Mapping[str, Any] | None) -> str:
    """Clocks, power, temperature, and what holds the clocks down, as HTML."""
    if not state:
        return "–"
    units = (("sm_mhz", " MHz"), ("memory_mhz", " MHz memory"), ("power_w", " W"), ("temperature_c", " °C"))
    parts = [f"{state[name]:.0f}{unit}" for name, unit in units if state.get(name) is not None]
    return escape(", ".join([*parts, *(state.get("throttling") or [])]))


def settings_table(judged: Mapping[str, Any]) -> str:
    """Versions, and variables of the environment that change figures."""
    pairs = {**judged["software"], **judged["settings"]}
    return "<h2>Software</h2>" + table(list(map(escape, pairs)), [list(map(escape, pairs.values()))])


def by_number(case: Case) -> list[tuple[int, str]]:
    """The order of cases: by the numbers in their names, so that 1024 comes before 16384."""
    parts = re.findall(r"\d+|\D+", case["name"])
    return [(int(part), "") if part.isdigit() else (0, part) for part in parts]


def family_part(name: str, cases: Sequence[Case]) -> str:
    """The heading, plot and table of a family."""
    cases = sorted(cases, key=by_number)
    measured = [case for case in cases if case.get("value")]
    plot = f"<div class=plot>{plot_bars(measured)}</div>" if HAS_MATPLOTLIB and measured else ""
    rows = [list(map(escape, case_cells(case))) for case in cases]
    head = [
        "Case",
        "GPU",
        "Shape",
        "By",
        "Median ms",
        "p20–p80",
        "Runs",
        "Figure",
        "Peak",
        "Others",
        "Floor",
        "Error",
        "",
    ]
    return f"<h2>{escape(TITLES[name])}</h2>{plot}" + table(head, rows, frozenset({1, 4, 5, 6, 7, 8, 11}))


def case_cells(case: Case) -> Iterator[object]:
    """The cells of a case's row."""
    unit, measured = case["unit"], case.get("value") is not None
    yield case["name"].partition("/")[2]
    yield case["device"]
    yield case["shape"]
    yield case.get("backend")
    yield f"{case['median_ms']:.4g}" if measured else None
    yield f"{case['p20_ms']:.4g}–{case['p80_ms']:.4g}" if measured else None
    yield case.get("repeats")
    yield figure(case["value"], unit) if measured else None
    yield f"{case['percent_of_peak']:.0f} %" if case["percent_of_peak"] else None
    yield ", ".join(f"{name} {figure(value, unit)}" for name, value in case["references"].items()) or None
    yield figure(case["floor"]["value"], unit) if case["floor"] else None
    yield f"{case['error']:.2g} of {case['tolerance']:.2g}" if "error" in case else None
    yield (
        case["status"] if case["status"] in ("ok", "wrong") else f"{case['status'].replace('_', ' ')}: {case['reason']}"
    )


def references_part(known: Catalogue) -> str:
    """Where the figures of other devices come from."""
    rows = [
        [escape(value) for value in (name, row["device"], row["torch"], row["driver"], row["date"], row["source"])]
        for name, row in known["benchmarks"]["references"].items()
    ]
    return "<h2>Other devices</h2>" + table(["Name", "Device", "torch", "Driver", "Date", "Source"], rows)


def plot_bars(cases: Sequence[Case]) -> str:
    """A bar for each case with its p20–p80, a tick at its peak, a mark for each known device; one SVG."""
    # Ansible loads every filter for every playbook, and matplotlib alone takes longer than the rest of its start.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "podsmith", "font.size": 9}):
        canvas = Figure(figsize=(9, 0.8 + 0.26 * len(cases)), layout="constrained")
        axes = canvas.add_subplot()
        places = list(range(len(cases)))
        values = [case["value"] for case in cases]
        whiskers = [
            [case["value"] * (1 - case["median_ms"] / case["p80_ms"]) for case in cases],
            [case["value"] * (case["median_ms"] / case["p20_ms"] - 1) for case in cases],
        ]
        axes.barh(places, values, xerr=whiskers, color=BAR, ecolor="#1c2733", height=0.7, label="this host")
        several = len({case["device"] for case in cases}) > 1
        labels = [case["name"].partition("/")[2] + (f" · GPU {case['device']}" if several else "") for case in cases]
        axes.set_yticks(places, labels)
        axes.margins(y=0.02)
        axes.invert_yaxis()
        peaks = [(case["peak_value"], at) for at, case in enumerate(cases) if case["percent_of_peak"]]
        if peaks and cases[0]["unit"] != "images/s":
            axes.plot(*zip(*peaks, strict=True), "|", color="#1c2733", markersize=9, label="data sheet")
        for position, name in enumerate(sorted({name for case in cases for name in case["references"]})):
            points = [(case["references"][name], at) for at, case in enumerate(cases) if name in case["references"]]
            axes.plot(*zip(*points, strict=True), "D", color=MARKS[position % len(MARKS)], markersize=4, label=name)
        axes.set_xlabel("times" if cases[0]["unit"] == "x" else cases[0]["unit"])
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
