"""What would help is tried before it is told: on the grid of hosts and wishes, and on single hosts."""

from __future__ import annotations

import collections
import copy
import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import parse_version
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan import remedies
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.decision import count_money, to_decision
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.host import read_host
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.plan import decide_for, resolve
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.refusal import WayOut
from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.tries import Asked, on_host, try_way, with_wish
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text
from ansible_collections.podsmith.gpu.plugins.plugin_utils._request.request import (
    Overrides,
    Settings,
    Toolkit,
    parse_request,
)

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
STEP = 307  # of some 330,000; it shares no factor with an axis, so that every pair of values is met
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
    assert min(verdicts[name] for name in ("ok", "degraded", "blocked")) > 40


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
    assert tried > 700, f"only {tried} wishes were told"


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


def also_allowed(wished: Facts, decision: Facts) -> list[str]:
    """The routes that a request allows beside the direct ones, on a host whose present driver runs nothing."""
    return list(wished["on_old_driver"]) if decision["verdict"] == "blocked" else []


def test_no_host_is_named_that_the_rules_refuse(grid: Any, decide: Decide) -> None:
    """Each way out that takes another host is decided on such a host."""
    tried, wrong = 0, []
    for observed, wished, decision, way in ways(grid):
        if way["host"] is None:
            continue
        tried += 1
        then = decide(facts_with(observed, way["host"]), **merged(wished, way["wish"] or {}))
        by_route = {"driver", "gpu"} & set(way["host"]) and way["wish"] != {"driver": "keep"}
        allowed = ("native", "minor_version", *also_allowed(wished, decision))
        if then["verdict"] == "blocked" or (by_route and then["route"] not in allowed):
            wrong.append((observed["devices"][0]["name"], wished, way["text"], then["summary"]))
    assert wrong == [], f"{len(wrong)} of {tried} hosts are refused by the rules that told of them"
    assert tried > 400, f"only {tried} hosts were told of"


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
    assert named > 100


def test_a_tenant_is_not_told_to_change_the_driver(grid: Any) -> None:
    for observed, _unused, decision in grid:
        if observed["platform"]["kind"] == "container":
            told = [*decision["remedies"], *(row["text"] for row in decision["versions"])]
            assert [text for text in told if re.search(r"[Uu]pdate the|Set driver: \"|reboots", text)] == []


# --- single hosts ---

THOR = {
    "platform": {
        "kind": "bare_metal",
        "os": {"id": "ubuntu", "version": "24.04", "family": "debian"},
        "arch": "aarch64",
        "glibc": "2.39",
        "root": True,
        "pythons": [{"path": "/usr/bin/python3", "version": "3.12"}],
        "compiler": {"path": "/usr/bin/g++", "version": "13.3.0"},
    },
    "driver": {"status": "ok", "version": "580.00"},
    "devices": [{"index": 0, "name": "NVIDIA Thor", "compute_capability": "11.0", "brand_id": 14}],
}
FAIL = {"on_old_driver": ["fail"]}


def test_a_cuda_without_code_for_the_gpu_is_not_named(decide: Decide) -> None:
    """Of the CUDA releases that PyTorch 2.9.1 is built for on aarch64 only one has machine code for sm_110."""
    decision = decide(THOR, cuda="12.9", pytorch="2.9.1")
    assert decision["remedies"] == ['Set cuda: "13.0": PyTorch 2.9.1+cu130 runs here.']
    assert [(way["wish"], way["host"], way["mib"]) for way in decision["ways_out"]] == [({"cuda": "13.0"}, None, 3340)]
    assert decision["ways_out"][0]["loses"] == ["another CUDA than the requested 12.9"]


# host, wish, what is told first, and what is not told: it was, and the rules refuse it
HOSTS_AND_WAYS = [
    pytest.param(
        {"gpu": "RTX5090"},
        {"cuda": "13.0", "pytorch": "2.6", **FAIL},
        ['Set pytorch: "2.9.1": PyTorch 2.9.1+cu130 runs here.'],
        ["12.4", "12.6", "11.8"],
        id="no-cuda-of-that-torch-has-code",
    ),
    pytest.param(
        {"gpu": "B200", "arch": "aarch64"},
        {"cuda": "12.9", "pytorch": "2.9.1", **FAIL},
        ['Set cuda: "12.8": PyTorch 2.9.1+cu128 runs here.', 'Set pytorch: "2.8.0": PyTorch 2.8.0+cu129 runs here.'],
        ['"12.6"'],
        id="one-of-three-cudas-has-none",
    ),
    pytest.param(
        {"gpu": "H100", "os": "rocky 9.4", "root": False},
        {"cuda": "12.6"},
        ['Set cuda: "13.0": PyTorch 2.15.0+cu130 runs here.', "Set scope: system and run with become: true."],
        [],
        id="root-brings-the-packages",
    ),
    pytest.param(
        {"gpu": "K80", "driver": "470.256.02", "pythons": ("3.9",)},
        {"pytorch": "2.15", **FAIL},
        [
            (
                "Use a host with driver 615.71.09 and a GPU of compute capability 7.5 such as T4 and Python 3.15 "
                "with its venv module."
            )
        ],
        ["Install Python", "python: auto"],
        id="python-alone-does-not-help",
    ),
    pytest.param(
        {"gpu": "V100", "driver": "590.48.01", "kind": "container"},
        {"driver": "580"},
        [
            (
                "A container's driver is changed on the host itself: use a host with a driver of branch 580, "
                "and leave driver: keep."
            )
        ],
        ["Leave driver: keep on this host"],
        id="keep-keeps-a-driver-without-volta",
    ),
    pytest.param(
        {"gpu": "V100", "driver": "615.71.09"},
        {"cuda": "13.2", "pytorch": "2.15", **FAIL},
        [
            "Use a host with a driver of branch 580, and set cuda: newest and pytorch: newest.",
            "Use a host with a GPU of compute capability 7.5 such as T4.",
        ],
        ["Use a host with a driver of branch 580."],
        id="the-last-branch-alone-does-not-help",
    ),
    pytest.param(
        {"gpu": "V100", "driver": "615.71.09"},
        {"cuda": "13.2", "pytorch": "2.15"},
        ["Use a host with a driver of branch 580."],
        ["GPU of compute capability", "up to branch"],
        id="the-last-branch-and-the-fallback-that-is-allowed",
    ),
    pytest.param(
        {"gpu": "B200", "driver": "570.133.07", "kind": "container"},
        {"cuda": "13.0", "pytorch": "2.9"},
        ["Use a host with driver 570.133.20 or newer."],
        ["Set driver"],
        id="the-floor-of-the-gpu-by-forward-compatibility",
    ),
    pytest.param(
        {"gpu": "H100", "driver": "470.256.02", "pythons": ("3.9",), "kind": "container"},
        {"cuda": "12.8", "pytorch": "2.9.1", **FAIL},
        ["Use a host with driver 615.71.09 and Python 3.14 with its venv module."],
        ["520.61.05"],
        id="the-floor-of-the-gpu-is-not-that-of-cuda",
    ),
    pytest.param(
        {"gpu": "RTX5090"},
        {"driver": "565", "cuda": "12.6", **FAIL},
        ["Set cuda: newest and pytorch: newest and driver: keep: PyTorch 2.15.0+cu130 runs here."],
        ['driver: "570"'],
        id="a-driver-for-the-gpu-is-not-enough",
    ),
    pytest.param(
        {"gpu": "H100", "root": False},
        {"cuda": "12.6", "pytorch": "none", "toolkit": {"provider": "pypi"}},
        ['Set cuda: "13.0": CUDA 13.0 runs here.'],
        ["scope: system", "provider: none"],
        id="nothing-is-left-without-a-toolkit",
    ),
    pytest.param(
        {"gpu": "H100", "root": False},
        {"python": "3.9", "pytorch": "2.15"},
        ["Set python: auto."],
        ["Install Python"],
        id="the-interpreter-that-is-there",
    ),
    pytest.param(
        {"gpu": "H100", "driver": "550.163.01"},
        {"cuda": "13.0", **FAIL},
        [
            "Use a host with driver 580 or newer.",
            'Set driver: "580": it is installed here, and the machine reboots.',
            'Set cuda: "12.8": PyTorch 2.11.0+cu128 runs here.',
        ],
        [],
        id="a-machine-of-ones-own",
    ),
    pytest.param(
        {"gpu": "H100", "driver": "550.163.01", "kind": "container"},
        {"cuda": "13.0", **FAIL},
        ["Use a host with driver 580 or newer.", 'Set cuda: "12.8": PyTorch 2.11.0+cu128 runs here.'],
        ["Set driver", "reboot"],
        id="a-rented-container",
    ),
]


@pytest.mark.parametrize(("observed", "wished", "told", "refused_ways"), HOSTS_AND_WAYS)
def test_what_is_told(
    observed: Facts, wished: Facts, told: list[str], refused_ways: list[str], host: Any, decide: Decide
) -> None:
    decision = decide(host(**observed), **wished)
    assert decision["remedies"][: len(told)] == told
    others = [text for text in decision["remedies"] if text not in told]
    assert [words for words in refused_ways if any(words in text for text in others)] == []


def test_a_blocked_part_is_searched_for_only_where_no_suggestion_helps(host: Any, decide: Decide) -> None:
    decision = decide(host(root=False), cuda="13.0", scope="system")
    assert decision["remedies"] == ["Run with become: true.", "Set scope: user."]
    full = host(root=False)
    full["platform"]["free_gib"] = {"/": 1.0, "/home": 2.0}
    assert decide(full, cuda="13.0", scope="system")["remedies"] == ["Use another host."]


def test_a_folder_with_more_space_is_named(host: Any, decide: Decide) -> None:
    observed = host(root=False)
    observed["platform"]["free_gib"] = {"/": 100.0, "/home": 3.1, "/data": 50.0, "/mnt": 4.0}
    decision = decide(observed, cuda="13.0", toolkit={"provider": "none"})
    folders = [way["wish"] for way in decision["ways_out"] if way["wish"]]
    assert folders == [{"prefix": "/podsmith"}, {"prefix": "/data/podsmith"}]
    assert [decide(observed, cuda="13.0", toolkit={"provider": "none"}, **wish)["verdict"] for wish in folders] == [
        "ok",
        "ok",
    ]


@pytest.mark.parametrize(
    ("gpu", "driver", "wished", "expected"),
    [
        pytest.param("H100", "580.65.06", {"cuda": "13.4"}, "595.45.04", id="newer"),
        pytest.param("V100", "550.163.01", {"cuda": "12.9", "pytorch": "2.9.1"}, "575.51.03", id="volta"),
    ],
)
def test_what_would_be_better_runs_the_gpu(
    gpu: str, driver: str, wished: Facts, expected: str, host: Any, decide: Decide
) -> None:
    decision = decide(host(gpu, driver), **wished)
    assert decision["verdict"] == "ok"
    assert [text.split()[4] for text in decision["remedies"]] == [expected]


def test_a_newer_driver_that_does_not_run_the_gpu_is_not_better(host: Any, decide: Decide) -> None:
    """CUDA 11.8 runs on a Kepler by minor-version compatibility, and its own driver no longer knows that GPU."""
    facts = host("K80", "470.256.02", os="ubuntu 22.04")
    facts["platform"].update(glibc="2.35", compiler={"path": "/usr/bin/g++", "version": "11.4.0"})
    decision = decide(facts, cuda="11.8", pytorch="none")
    assert (decision["route"], decision["remedies"]) == ("minor_version", [])


# --- what is tried ---


def test_a_decision_that_is_ok_tries_nothing(host: Any, known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedies, "find_ways", lambda _asked: pytest.fail("nothing is to be looked for"))
    assert resolve(host(), {"cuda": "13.0", "pytorch": "2.14"}, known).verdict == "ok"
    assert resolve(host(driver="580.65.06"), {"cuda": "13.0", "extensions": ["xformers"]}, known).verdict == "ok"


def test_a_search_is_bounded(host: Any, known: Catalogue, count_calls: Callable[[Callable[[], object]], int]) -> None:
    """What is blocked by several things at once is tried with other hosts too: some 60,000 calls, about 10 ms."""
    observed = host("H100", "470.256.02", pythons=("3.9",), kind="container")
    wished = {"cuda": "12.8", "pytorch": "2.9.1", **FAIL}
    resolve(observed, wished, known)
    assert count_calls(lambda: resolve(observed, wished, known)) < 250_000


@pytest.mark.parametrize(
    ("wish", "key", "expected"),
    [
        pytest.param({"cuda": "12.6"}, "cuda", "12.6", id="key"),
        pytest.param({"toolkit": {"provider": "none"}}, "toolkit", Toolkit("none", ("full",), ("12.8",)), id="nested"),
        pytest.param({"toolkit": {"also": []}}, "toolkit", Toolkit("pypi", ("full",), ()), id="emptied"),
        pytest.param({"settings": {"tf32": None}}, "settings", Settings(None, "lazy"), id="null-is-the-default"),
        pytest.param({"architectures": "auto"}, "architectures", None, id="auto"),
    ],
)
def test_another_request(wish: Facts, key: str, expected: object) -> None:
    given = {
        "toolkit": {"provider": "pypi", "components": ["full"], "also": ["12.8"]},
        "settings": {"tf32": True, "module_loading": "lazy"},
        "architectures": ["9.0"],
        "cuda": "13.0",
    }
    request = parse_request(given)
    changed = with_wish(request, wish)
    assert getattr(changed, key) == expected
    assert replace(changed, **{key: getattr(request, key)}) == request


def test_another_host_keeps_the_rest(host: Any, known: Catalogue) -> None:
    observed = host(["H100", "H100"], "570.133.20")
    observed["ways"] = {"login": {"libcuda": "/a/libcuda.so.1", "init": {"code": 803, "name": "X"}, "devices": 0}}
    first = read_host(observed, Overrides(), known)
    other = on_host(first, {"driver": "580.65.06"}, known)
    assert (other.driver, other.driver_cuda, other.branch) == ("580.65.06", "13.0", 580)
    assert (other.gpus, other.pythons, other.ways) == (first.gpus, first.pythons, None)
    assert on_host(first, {"gpu": "7.5"}, known).capabilities == ("7.5",)
    assert on_host(first, {}, known) == first


def test_a_way_out_that_cannot_be_understood_is_none(host: Any, known: Catalogue) -> None:
    """What a rule suggests is not believed: here a release that the catalogue does not have."""
    request = parse_request({})
    observed = read_host(host(), request.overrides, known)
    plan = decide_for(known, observed, request)
    asked = Asked(observed, request, known, plan, functools.partial(decide_for, known))
    assert try_way(asked, WayOut("Set cuda.", {"cuda": "99.9"})) is None
    assert try_way(asked, WayOut("Set it.", {"no_such_key": 1})) is None
    found = try_way(asked, WayOut("Set cuda.", {"cuda": "12.8"}))
    assert found is not None
    assert found.mib


# --- the cost ---


def test_what_a_way_out_costs(host: Any, decide: Decide, known: Catalogue) -> None:
    decision = decide(host(driver="550.163.01"), cuda="13.0", pytorch="2.13", on_old_driver=["fail"])
    by_text = {way["text"]: way for way in decision["ways_out"]}
    same = decide(host(driver="580.65.06"), cuda="13.0", pytorch="2.13", on_old_driver=["fail"])
    assert by_text["Use a host with driver 580 or newer."]["mib"] == same["download"]["mib"]
    own = next(way for way in decision["ways_out"] if way["wish"] and "driver" in way["wish"])
    assert own["mib"] == same["download"]["mib"] + known["sizes"]["sizes"]["driver"]["mib"]
    assert own["loses"] == ["the machine reboots"]
    assert own["minutes"] >= by_text["Use a host with driver 580 or newer."]["minutes"] + 5


@pytest.mark.parametrize(
    ("observed", "wished", "text", "loses"),
    [
        pytest.param(
            {"driver": "570.133.20"},
            {"cuda": "13.0", "pytorch": "2.14", **FAIL},
            "Add forward_compat to on_old_driver: PyTorch 2.14.1+cu130 runs here that way.",
            ["no CUDA–OpenGL or Vulkan interop"],
            id="compat",
        ),
        pytest.param(
            {"driver": "550.163.01", "kind": "container"},
            {"cuda": "13.0", "pytorch": "2.9", **FAIL},
            'Set cuda: "12.8": PyTorch 2.9.1+cu128 runs here.',
            ["another CUDA than the requested 13.0", "PTX does not run"],
            id="minor-version",
        ),
        pytest.param(
            {"gpu": "RTX5090"},
            {"cuda": "13.0", "pytorch": "2.6", **FAIL},
            'Set pytorch: "2.9.1": PyTorch 2.9.1+cu130 runs here.',
            ["another PyTorch than the requested 2.6"],
            id="torch",
        ),
        pytest.param(
            {"gpu": "RTX5090"},
            {"cuda": "13.0", "pytorch": "2.6", **FAIL},
            "Add fallback to on_old_driver: PyTorch 2.7.0+cu128 runs here that way.",
            ["another PyTorch than the requested 2.6", "another CUDA than the requested 13.0"],
            id="fallback",
        ),
        pytest.param(
            {"gpu": "H100", "driver": "525.147.05"},
            {"cuda": "13.0", "pytorch": "2.9", **FAIL},
            "Add fallback to on_old_driver: PyTorch 2.9.1+cu128 runs here that way.",
            ["another CUDA than the requested 13.0", "PTX does not run"],
            id="fallback-by-minor-version",
        ),
        pytest.param(
            {"gpu": "H100", "root": False},
            {"cuda": "12.6"},
            "Set toolkit.provider: none.",
            ["no CUDA toolkit: nothing is compiled for the GPU"],
            id="toolkit",
        ),
    ],
)
def test_what_is_lost(observed: Facts, wished: Facts, text: str, loses: list[str], host: Any, decide: Decide) -> None:
    decision = decide(host(**observed), **wished)
    assert {way["text"]: way["loses"] for way in decision["ways_out"]}[text] == loses


def test_a_wish_that_was_met_beside_is_lost_by_name(host: Any, decide: Decide) -> None:
    wished = {"cuda": "13.0", "pytorch": "2.6", "extensions": ["vllm", "flash-attn"], **FAIL}
    decision = decide(host("RTX5090"), **wished)
    (way,) = (way for way in decision["ways_out"] if (way["wish"] or {}).get("pytorch") == "2.9.1")
    then = decide(host("RTX5090"), **{**wished, **way["wish"]})
    skipped = [name for name, entry in then["extensions"].items() if "skipped" in entry]
    assert skipped
    assert [text for text in way["loses"] if text.startswith("without ")] == [f"without {name}" for name in skipped]


@pytest.mark.parametrize(
    ("minutes", "price", "money"),
    [(90, 2.0, 3.0), (4, 2.49, 0.17), (4, None, None), (None, 2.0, None), (0, 2.0, 0.0)],
)
def test_money(minutes: int | None, price: float | None, money: float | None) -> None:
    assert count_money(minutes, price) == money


def test_what_nobody_timed_has_no_minutes(host: Any, decide: Decide) -> None:
    observed = host("H100")
    observed["platform"] |= {"cpus": 16, "memory_free_gib": 64.0}
    decision = decide(observed, cuda="13.0", extensions=["flash-attn"])
    timed = {way["text"]: way["minutes"] for way in decision["ways_out"]}
    (minutes,) = timed.values()
    assert minutes > 30, "the build was timed, and counts"


def test_the_report_shows_each_with_its_cost(host: Any, known: Catalogue) -> None:
    observed = host("H100", "570.133.20", kind="container")
    plan = resolve(observed, {"cuda": "13.0", "pytorch": "2.14", **FAIL}, known)
    dear, free = (render_text(to_decision(plan, price), observed, "pod") for price in (2.49, None))
    flat = " ".join(dear.split())
    assert "Use a host with driver 580 or newer. (3.3 GiB to fetch, about 4 min, 0.17 at this host's price)" in flat
    assert re.search(r"that way\. \([0-9.]+ GiB to fetch, about 4 min, 0\.17 at .* price; no CUDA–OpenGL", flat)
    assert "price" not in free


@pytest.mark.parametrize(
    ("gpu", "policies", "told"),
    [
        pytest.param("H100", ["fallback"], True, id="a-data-center-gpu"),
        pytest.param("RTX4090", ["fallback"], False, id="a-gpu-that-has-no-forward-compatibility"),
        pytest.param("H100", ["forward_compat", "fallback"], False, id="asked-for-already"),
    ],
)
def test_a_fallback_tells_of_the_forward_compatibility_that_was_not_asked_for(
    gpu: str, policies: list[str], told: bool, host: Any, decide: Decide
) -> None:
    decision = decide(host(gpu, "570.133.20"), cuda="13.0", pytorch="2.9", on_old_driver=policies)
    text = "Put forward_compat first in on_old_driver: PyTorch 2.9.1+cu130 runs here that way."
    assert (text in decision["remedies"]) is told
