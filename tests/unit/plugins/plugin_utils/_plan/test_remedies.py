"""What would help is tried before it is told: on the grid of hosts and wishes, and on single hosts."""

from __future__ import annotations

import collections
import copy
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import count_money
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import check_request, decide_for
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.tries import on_host, with_wish
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import as_mapping, parse_request

Decide = Callable[..., dict[str, Any]]
Facts = dict[str, Any]
DRIVERS = ["450.80.02", "525.60.13", "535.183.01", "550.163.01", "570.133.20", "580.65.06", "590.48.01", "615.71.09"]
NAMES = ["K80", "M60", "P100", "V100", "T4", "A100", "RTX4090", "H100", "GH200", "B200", "B300", "RTX5090", "GB10"]
PLACES = [("bare_metal", "x86_64"), ("container", "x86_64"), ("container", "aarch64"), ("wsl2", "x86_64")]
WISHES: list[Facts] = [
    *(
        {"cuda": cuda, "pytorch": torch}
        for cuda in ("newest", "11.8", "12.6", "12.9", "13.0", "13.4")
        for torch in ("newest", "2.6", "2.9.1", "2.15", "none")
    ),
    {"cuda": "12.6", "toolkit": {"also": ["12.8", "13.0"]}},
    {"cuda": "12.8", "toolkit": {"provider": "pypi"}},
    {"cuda": "13.0", "pytorch": "2.13", "wheels": {"provider": "source"}},
    {"cuda": "13.0", "source": {"extensions": ["flash-attn"]}},
    {"cuda": "13.0", "pytorch": "2.9", "wheels": {"provider": "pypi"}},
    {"cuda": "13.0", "driver": "580"},
    {"cuda": "13.0", "driver": "570"},
    {"driver": "590", "scope": "user"},
    {"cuda": "13.0", "python": "3.9"},
    {"cuda": "13.0", "settings": {"expandable_segments": True}},
    {"cuda": "13.0", "forward_compat": "standby"},
    {"cuda": "13.0", "scope": "system", "cutlass": "newest"},
    {"cuda": "13.0", "architectures": ["9.0"], "source": {"extensions": ["flash-attn"]}},
    {"cuda": "12.6", "extensions": ["flash-attn", "vllm", "xformers"]},
]
POLICIES = [["forward_compat", "fallback"], ["fail"], ["fallback"]]
ROOTS = [True, False]
PYTHONS = [("3.12",), ("3.9",), ("3.10", "3.14")]
STEP = 211  # of some 330,000; it shares no factor with an axis, so that every pair of values is met
# How a sentence asks for another request.
REQUESTS = re.compile(
    r"\b(?:Ask for|[Ss]et [a-z_.]+:|Set architectures|Add .* to |Remove .* from |Leave (?:driver|settings))"
)
HOSTS = re.compile(r"Use a host with|Update the Windows driver|Use an image|Use a distribution|Install Python")
ROUTE_KEYS = {"cuda", "pytorch", "python", "driver", "wheels"}  # by which a route as requested is promised
NOT_A_REQUEST = re.compile(r"set PYTORCH|set CUDA")


def facts_with(observed: Facts, host: Facts) -> Facts:
    """A host with other parts, as gpu_facts would see it: of a newer driver nothing else is known."""
    changed = copy.deepcopy(observed)
    platform, installed = changed["platform"], changed["installed"]
    for part, value in host.items():
        if part == "driver":
            changed["driver"] = {"status": "ok", "version": value}
        elif part == "gpu":
            changed["devices"] = [{"index": 0, "name": "another GPU", "compute_capability": value}]
        elif part == "python":
            platform["pythons"].append({"path": f"/usr/bin/python{value}", "version": value, "headers": True})
        elif part == "toolkit":
            row = {"release": value, "version": f"{value}.1", "path": f"/usr/local/cuda-{value}", "nvcc": True}
            installed["toolkits"].append({**row, "components": ["compiler", "runtime_dev", "libraries", "full"]})
        elif part == "compiler":
            platform["compiler"] = {"path": "/usr/bin/g++", "version": "13.2.0"}
        elif part == "memory_gib":
            platform["memory_free_gib"] = value
        else:
            platform[part] = value
    return changed


@pytest.fixture(scope="module")
def grid(host: Any, decide: Decide) -> list[tuple[Facts, Facts, Facts]]:
    """Hosts, requests and what was decided for them."""
    found = []
    axes = itertools.product(DRIVERS, NAMES, PLACES, WISHES, POLICIES, ROOTS, PYTHONS)
    for number, (driver, name, (kind, arch), wish, policy, root, pythons) in enumerate(axes):
        if number % STEP:
            continue
        observed = host(name, driver, kind=kind, arch=arch, root=root, pythons=pythons)
        if number % 5 == 0:
            observed["platform"]["compiler"] = None
        if number % 7 == 0:
            observed["platform"]["free_gib"] = {"/": 6.0, "/data": 900.0}
        wished = {**wish, "on_old_driver": policy}
        found.append((observed, wished, decide(observed, **wished)))
    return found


def ways(grid: list[tuple[Facts, Facts, Facts]]) -> Iterator[tuple[Facts, Facts, Facts, Facts]]:
    for observed, wished, decision in grid:
        for way in decision["ways_out"]:
            yield observed, wished, decision, way


def merged(wished: Facts, wish: Facts) -> Facts:
    """The request with a way out's keys, as a person would write them into it."""
    found = copy.deepcopy(wished)
    for key, value in wish.items():
        found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
    return found


def refused(wished: Facts, way: Facts, then: Facts) -> str | None:
    """Why a way out was no way out: blocked, or what it promised is not met."""
    wish = way["wish"]
    if then["verdict"] in ("blocked", "broken"):
        return f"{then['summary']}"
    if then["route"] == "fallback" and ROUTE_KEYS & set(wish):
        return f"something else is taken: {then['summary']}"
    torch = (then["pytorch"] or {}).get("version", "none")
    if re.fullmatch(r"[0-9.]+", wish.get("pytorch", "")) and not f"{torch}.".startswith(f"{wish['pytorch']}."):
        return f"PyTorch is {torch}"
    exact = re.fullmatch(r"[0-9.]+", wish.get("cuda", ""))
    if exact and then["cuda"] != wish["cuda"] and (then["toolkit"] or {}).get("version") != wish["cuda"]:
        return f"CUDA is {then['cuda']}"
    named = re.search(r": (?:PyTorch (\S+)|CUDA (\S+)) runs here", way["text"])
    if named and named[1] and not str((then["pytorch"] or {}).get("local")).startswith(named[1]):
        return f"{named[1]} was named, and {torch} comes"
    if named and named[2] and then["cuda"] != named[2]:
        return f"CUDA {named[2]} was named, and {then['cuda']} comes"
    return None


def test_the_grid_is_large_and_bounded(grid: Any) -> None:
    assert 1_000 < len(grid) < 3_000
    verdicts = collections.Counter(decision["verdict"] for _unused, _unused, decision in grid)
    assert min(verdicts[name] for name in ("ok", "degraded", "blocked")) > 50


def test_no_remedy_is_refused_by_the_rules_that_tell_it(grid: Any, decide: Decide) -> None:
    """Each way out that asks for another request on this host is decided as that request."""
    tried, wrong = 0, []
    for observed, wished, _unused, way in ways(grid):
        if way["wish"] is None or way["host"] is not None:
            continue
        tried += 1
        then = decide(observed, **merged(wished, way["wish"]))
        if because := refused(wished, way, then):
            wrong.append((observed["devices"][0]["name"], observed["driver"]["version"], wished, way["text"], because))
    assert wrong == [], f"{len(wrong)} of {tried} wishes are refused by the rules that told them"
    assert tried > 1_000, f"only {tried} wishes were told"


def test_what_is_suggested_is_met(grid: Any, known: Catalogue, decide: Decide) -> None:
    """A wish for a part of the request that was not met: that part is met then, and no other is lost."""
    checked = 0
    for observed, wished, decision, way in ways(grid):
        if way["wish"] is None or way["host"] is not None or decision["verdict"] != "degraded":
            continue
        then = decide(observed, **merged(wished, way["wish"]))
        before = {row["option"] for row in decision["rejected"] if row["option"].startswith("CUDA toolkit")}
        after = {row["option"] for row in then["rejected"] if row["option"].startswith("CUDA toolkit")}
        assert after <= before, (wished, way["text"])
        checked += 1
    assert checked > 50


def test_no_host_is_named_that_the_rules_refuse(grid: Any, decide: Decide) -> None:
    """Each way out that takes another host is decided on such a host."""
    tried, wrong = 0, []
    for observed, wished, _unused, way in ways(grid):
        if way["host"] is None:
            continue
        tried += 1
        then = decide(facts_with(observed, way["host"]), **merged(wished, way["wish"] or {}))
        by_route = {"driver", "gpu"} & set(way["host"]) and way["wish"] != {"driver": "keep"}
        if then["verdict"] == "blocked" or (by_route and then["route"] not in ("native", "minor_version")):
            wrong.append((observed["devices"][0]["name"], wished, way["text"], then["summary"]))
    assert wrong == [], f"{len(wrong)} of {tried} hosts are refused by the rules that told of them"
    assert tried > 500, f"only {tried} hosts were told of"


def test_no_sentence_asks_for_what_was_not_tried(grid: Any) -> None:
    """A sentence that names a key of the request, or another host, has what it asks for beside it."""
    told, untried = 0, []
    for _unused, _unused, decision in grid:
        assert decision["remedies"] == [way["text"] for way in decision["ways_out"]]
        for way in decision["ways_out"]:
            told += 1
            text = NOT_A_REQUEST.sub("", way["text"])
            asks, other = bool(REQUESTS.search(text)), bool(HOSTS.search(text))
            if (asks and way["wish"] is None) or (other and way["host"] is None):
                untried.append(way["text"])
            if (way["wish"] is None and way["host"] is None) != (way["mib"] is None):
                untried.append(f"cost of {way['text']}")
    assert collections.Counter(untried) == {}, f"{len(untried)} of {told} sentences ask for what was not tried"


def test_the_versions_tell_of_nothing_untried(grid: Any) -> None:
    texts = [row["text"] for _unused, _unused, decision in grid for row in decision["versions"]]
    assert [text for text in texts if re.search(r"; (?:use|update) |, or use ", text)] == []


def test_no_driver_is_named_that_does_not_run_the_gpu(grid: Any, known: Catalogue) -> None:
    rows = known["gpus"]["capabilities"]
    named = 0
    for observed, _unused, decision in grid:
        row = rows[observed["devices"][0]["compute_capability"]]
        for way in decision["ways_out"]:
            host = way["host"] or {}
            version = host.get("driver") or (way["wish"] or {}).get("driver", "keep")
            better = re.search(r"^A host with driver ([0-9.]+)", way["text"])
            version = better[1] if better else version
            if "gpu" in host or version == "keep" or observed["platform"]["kind"] == "wsl2":
                continue
            named += 1
            last, branch = row["last_branch"], parse_version(version)[0]
            assert last is None or branch <= last, (observed["devices"][0]["name"], way["text"])
            assert branch >= parse_version(row["least_driver"] or "0")[0], (observed["devices"][0]["name"], way["text"])
    assert named > 200


def test_a_tenant_is_not_told_to_change_the_driver(grid: Any) -> None:
    for observed, _unused, decision in grid:
        if observed["platform"]["kind"] == "container":
            told = [*decision["remedies"], *(row["text"] for row in decision["versions"])]
            assert [text for text in told if re.search(r"[Uu]pdate the|Set driver: \"|reboots", text)] == []


# --- what is looked for ---


def texts(decision: Facts) -> str:
    return " ".join(decision["remedies"])
