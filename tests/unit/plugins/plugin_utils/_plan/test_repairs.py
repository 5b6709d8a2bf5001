"""Which foreign settings a run takes out by itself, how that is told, and why others are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._plan.repairs import changes_of_repairs, find_repairs
from ansible_collections.podsmith.gpu.plugins.plugin_utils._report.stack import render_text

Decide = Callable[..., dict[str, Any]]
Facts = dict[str, Any]

COMPAT, STUBS = "/usr/local/cuda/compat", "/usr/local/cuda/lib64/stubs"
BASHRC, CONF, CACHE = "/root/.bashrc", "/etc/ld.so.conf.d/000_cuda.conf", "/etc/ld.so.cache"
LINE = f"export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH"
MIXED = f"export PATH=/c/bin:$PATH; {LINE}"


def conflict(
    kind: str, file: str | None = BASHRC, text: str = LINE, path: str = COMPAT, line: int | None = 12
) -> dict[str, Any]:
    return {"kind": kind, "file": file, "line": line, "text": text, "path": path}


def repaired(kind: str, file: str, text: str, variable: str, values: list[str], number: int = 12) -> dict[str, Any]:
    return {"path": file, "line": text, "number": number, "variable": variable, "values": values, "kind": kind}


LIBCUDA = f"{COMPAT}/libcuda.so.1"
KINDS = [
    (conflict("ld_library_path"), repaired("ld_library_path", BASHRC, LINE, "LD_LIBRARY_PATH", [COMPAT])),
    (
        conflict("stubs", text=f"export LD_LIBRARY_PATH={STUBS}", path=STUBS),
        repaired("stubs", BASHRC, f"export LD_LIBRARY_PATH={STUBS}", "LD_LIBRARY_PATH", [STUBS]),
    ),
    (
        conflict("ld_library_path", "/etc/environment", f'LD_LIBRARY_PATH="{COMPAT}"'),
        repaired("ld_library_path", "/etc/environment", f'LD_LIBRARY_PATH="{COMPAT}"', "LD_LIBRARY_PATH", [COMPAT]),
    ),
    (
        conflict("ld_library_path", "/root/.cshrc", f"setenv LD_LIBRARY_PATH {COMPAT}"),
        repaired("ld_library_path", "/root/.cshrc", f"setenv LD_LIBRARY_PATH {COMPAT}", "LD_LIBRARY_PATH", [COMPAT]),
    ),
    (conflict("ld_library_path", CONF, COMPAT), repaired("ld_library_path", CONF, COMPAT, "", [COMPAT])),
    (
        conflict("loader_order", CONF, "/opt/old/lib", "/opt/old/lib"),
        repaired("loader_order", CONF, "/opt/old/lib", "", ["/opt/old/lib"]),
    ),
    (
        conflict("preload", text=f"export LD_PRELOAD={LIBCUDA}", path=LIBCUDA),
        repaired("preload", BASHRC, f"export LD_PRELOAD={LIBCUDA}", "LD_PRELOAD", [LIBCUDA]),
    ),
    (
        conflict("preload", "/etc/ld.so.preload", LIBCUDA, LIBCUDA),
        repaired("preload", "/etc/ld.so.preload", LIBCUDA, "", [LIBCUDA]),
    ),
    (
        conflict("hidden_devices", text='export CUDA_VISIBLE_DEVICES=""', path=""),
        repaired("hidden_devices", BASHRC, 'export CUDA_VISIBLE_DEVICES=""', "CUDA_VISIBLE_DEVICES", []),
    ),
    (
        conflict("repeated_devices", text="export CUDA_VISIBLE_DEVICES=0,0", path=""),
        repaired("repeated_devices", BASHRC, "export CUDA_VISIBLE_DEVICES=0,0", "CUDA_VISIBLE_DEVICES", []),
    ),
    (
        conflict("cuda_home", text="export CUDA_HOME=/gone", path="/gone"),
        repaired("cuda_home", BASHRC, "export CUDA_HOME=/gone", "CUDA_HOME", ["/gone"]),
    ),
    (conflict("some_devices", text="export CUDA_VISIBLE_DEVICES=1", path=""), None),
    (conflict("toolkit_library", text="export LD_LIBRARY_PATH=/usr/local/cuda/lib64"), None),
    (conflict("second_libcuda", "/usr/local/lib/libcuda.so.1", "", "/usr/local/lib/libcuda.so.1", None), None),
    (conflict("loader_missing", None, "", "/usr/local/nvidia/lib64", None), None),
    (conflict("wsl_linux_driver", None, "libnvidia-compute-580", "", None), None),
]
LISTED = [BASHRC, "/root/.cshrc", CONF, "/etc/environment", "/etc/ld.so.preload", "/usr/local/lib/libcuda.so.1"]


@pytest.fixture
def pod(host: Any, decide: Decide, applied: Any) -> Facts:
    """A converged pod."""
    fresh = host("H100", "580.159.04")
    return dict(applied(fresh, decide(fresh, cuda="13.0")))


@pytest.mark.parametrize(("row", "wanted"), KINDS, ids=[f"{row['kind']} {row['text']}" for row, _unused in KINDS])
def test_every_kind_in_a_listed_file(row: dict[str, Any], wanted: dict[str, Any] | None, pod: Facts, case: Any) -> None:
    pod["conflicts"] = [row]
    host = case(pod).host
    assert find_repairs(LISTED, host) == ((wanted,) if wanted else ())
    assert find_repairs([], host) == ()


def test_two_folders_of_one_line_are_one_repair(pod: Facts, case: Any) -> None:
    text = f"export LD_LIBRARY_PATH={COMPAT}:{STUBS}"
    pod["conflicts"] = [conflict("ld_library_path", text=text), conflict("stubs", text=text, path=STUBS)]
    assert find_repairs(LISTED, case(pod).host) == (
        repaired("ld_library_path", BASHRC, text, "LD_LIBRARY_PATH", [COMPAT, STUBS]),
    )


# --- what a trace has named ---


def way(libcuda: str, *causes: dict[str, Any]) -> dict[str, Any]:
    return {"libcuda": libcuda, "init": {"code": 803, "name": "X"}, "devices": 0, "causes": list(causes)}


def cause(variable: str, value: str, text: str, file: str = "/root/.cuda.sh") -> dict[str, Any]:
    return {"variable": variable, "value": value, "file": file, "line": 3, "text": text}


@pytest.mark.parametrize(
    ("libcuda", "found", "values"),
    [
        pytest.param(
            f"{COMPAT}/libcuda.so.580.95.05",
            cause("LD_LIBRARY_PATH", f"{COMPAT}:/a", "export LD_LIBRARY_PATH=$CUDA_HOME/compat:/a"),
            [COMPAT],
            id="a-file-sourced-by-another",
        ),
        pytest.param(
            "/opt/old/lib/libcuda.so.580.95.05",
            cause("LD_LIBRARY_PATH", "/a:/opt/old/lib", "LD_LIBRARY_PATH=/a:$OLD"),
            ["/opt/old/lib"],
            id="the-folder-of-the-wrong-library",
        ),
        pytest.param(
            LIBCUDA, cause("LD_PRELOAD", f"/y/z.so:{LIBCUDA}", f"LD_PRELOAD=/y/z.so:{LIBCUDA}"), [LIBCUDA], id="preload"
        ),
        pytest.param(
            "/usr/lib/libcuda.so.580.159.04",
            cause("CUDA_VISIBLE_DEVICES", "0,0", "export CUDA_VISIBLE_DEVICES=$(pick)"),
            [],
            id="devices",
        ),
        pytest.param(
            "/opt/old/lib/libcuda.so.580.95.05",
            cause("LD_LIBRARY_PATH", "/a:/b", "export LD_LIBRARY_PATH=/a:/b"),
            None,
            id="a-library-from-elsewhere",
        ),
        pytest.param(
            f"{COMPAT}/libcuda.so.580.95.05",
            cause("LD_LIBRARY_PATH", COMPAT, 'add() { LD_LIBRARY_PATH="$1"; }'),
            None,
            id="a-line-that-serves-others-too",
        ),
    ],
)
def test_what_a_trace_has_named(
    libcuda: str, found: dict[str, Any], values: list[str] | None, pod: Facts, case: Any
) -> None:
    pod["ways"] = {"interactive": way(libcuda, found), "login": way(libcuda, found)}
    repairs = find_repairs(["~/.cuda.sh"], case(pod).host)
    wanted = repaired("traced", "/root/.cuda.sh", found["text"], found["variable"], values or [], 3)
    assert repairs == ((wanted,) if values is not None else ())


def test_a_line_that_was_read_and_traced_is_one_repair(pod: Facts, case: Any) -> None:
    pod["conflicts"] = [conflict("ld_library_path", line=3)]
    traced = cause("LD_LIBRARY_PATH", f"{COMPAT}:/a", LINE, BASHRC)
    pod["ways"] = {"login": way(f"{COMPAT}/libcuda.so.580.95.05", traced)}
    (repair,) = find_repairs([BASHRC], case(pod).host)
    assert (repair["kind"], repair["values"]) == ("ld_library_path", [COMPAT])


# --- what is left, and why ---


@pytest.mark.parametrize(
    ("row", "facts", "wish", "words"),
    [
        pytest.param(
            conflict("ld_library_path"), {}, {}, "; remove it, or list the file in repair_files.", id="listed-not"
        ),
        pytest.param(
            conflict("ld_library_path", CONF, COMPAT),
            {"root": False},
            {"repair_files": [CONF]},
            "; remove it and run ldconfig by hand: to change it needs root, and this is not root.",
            id="no-root",
        ),
        pytest.param(
            conflict("ld_library_path", CONF, COMPAT),
            {"root": False},
            {},
            f"({COMPAT}); remove it and run ldconfig.",
            id="of-no-use",
        ),
        pytest.param(
            conflict("ld_library_path", CONF, COMPAT),
            {},
            {"repair_files": [CONF], "scope": "user"},
            "; remove it and run ldconfig by hand: in user scope only files below the home are changed.",
            id="user-scope",
        ),
        pytest.param(
            conflict("loader_order", CONF, "/usr/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"),
            {},
            {"repair_files": [CONF]},
            "; remove it and run ldconfig by hand: the system keeps libraries in that folder, and what does not belong"
            " there is to be removed from it.",
            id="a-folder-of-the-system",
        ),
        pytest.param(
            conflict("ld_library_path", text=f'export LD_LIBRARY_PATH="{COMPAT}:'),
            {},
            {"repair_files": [BASHRC]},
            "; remove it by hand: a run cannot remove it from that line without changing what else the line does.",
            id="half-a-line",
        ),
        pytest.param(
            conflict("toolkit_library", text="export LD_LIBRARY_PATH=/usr/local/cuda/lib64"),
            {},
            {"repair_files": [BASHRC]},
            "(export LD_LIBRARY_PATH=/usr/local/cuda/lib64); remove it.",
            id="may-be-meant",
        ),
    ],
)
def test_what_is_left_is_told_with_its_reason(
    row: dict[str, Any], facts: dict[str, Any], wish: dict[str, Any], words: str, host: Any, decide: Decide
) -> None:
    observed = host("H100", "580.159.04", **facts)
    observed["conflicts"] = [row]
    decision = decide(observed, cuda="13.0", toolkit={"provider": "none"}, **wish)
    assert decision["environment"]["repairs"] == []
    assert [warning for warning in decision["warnings"] if warning.endswith(words)] != [], decision["warnings"]


def test_without_root_the_users_own_files_are_repaired(host: Any, decide: Decide) -> None:
    observed = host("H100", "580.159.04", root=False)
    observed["conflicts"] = [
        conflict("ld_library_path", "/home/ada/.bashrc"),
        conflict("ld_library_path", CONF, COMPAT),
    ]
    decision = decide(observed, cuda="13.0", repair_files=["~/.bashrc", CONF])
    assert [repair["path"] for repair in decision["environment"]["repairs"]] == ["/home/ada/.bashrc"]


# --- how it is told, and in which order ---


def told(decision: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(change["what"], change["action"], change["from"]) for change in changes_of_repairs(decision)]


def test_a_whole_line_is_removed_and_a_part_of_one_is_repaired(pod: Facts, decide: Decide) -> None:
    pod["conflicts"] = [
        conflict("ld_library_path"),
        conflict("ld_library_path", text=MIXED, line=13),
        conflict("ld_library_path", CONF, COMPAT, line=1),
    ]
    decision = decide(pod, cuda="13.0", repair_files=LISTED)
    assert told(decision) == [
        (f"{BASHRC}: {LINE}", "remove", LINE),
        (f"{BASHRC}: {MIXED}", "repair", f"with {COMPAT}"),
        (f"{CONF}: {COMPAT}", "remove", COMPAT),
        (CACHE, "repair", "out of date"),
    ]
    assert decision["changes"][1]["to"] == "export PATH=/c/bin:$PATH"
    assert len(decision["changes"]) == 4
    assert [warning for warning in decision["warnings"] if COMPAT in warning] == []
    text = " ".join(render_text(decision, pod, "pod").split())
    assert f"- {BASHRC}: {LINE} to be removed" in text
    assert f"~ {BASHRC}: {MIXED} with {COMPAT}: repaired" in text
    assert f"~ {CACHE} out of date: repaired" in text


@pytest.mark.parametrize(
    ("kind", "folder"),
    [("loader_cache", COMPAT), ("loader_cache", "/opt/driver"), ("wsl_cache", "/usr/lib/wsl/lib")],
)
@pytest.mark.parametrize(
    ("scope", "is_root", "makes"), [("system", True, True), ("user", True, False), ("user", False, False)]
)
def test_a_stale_cache_needs_no_permission_but_root(
    kind: str, folder: str, scope: str, is_root: bool, makes: bool, host: Any, decide: Decide
) -> None:
    observed = host("H100", "580.159.04", root=is_root)
    observed["conflicts"] = [conflict(kind, CACHE, "", folder, None)]
    decision = decide(observed, cuda="13.0", scope=scope, toolkit={"provider": "none"})
    assert told(decision) == ([(CACHE, "repair", "out of date")] if makes else [])
    assert any(CACHE in warning for warning in decision["warnings"]) is not makes


def test_repairs_come_before_everything_even_a_driver(host: Any, decide: Decide) -> None:
    observed = host("H100", "570.133.20")
    observed["conflicts"] = [conflict("ld_library_path")]
    decision = decide(observed, cuda="13.0", driver="580", repair_files=[BASHRC])
    roles = [change["role"] for change in decision["changes"]]
    assert roles[:2] == ["gpu_environment", "nvidia_driver"]
    assert changes_of_repairs(decision) == decision["changes"][:1]


def test_a_repair_alone_proves_nothing_and_changes_no_digest(pod: Facts, decide: Decide) -> None:
    before = decide(pod, cuda="13.0")
    pod["conflicts"] = [conflict("ld_library_path")]
    decision = decide(pod, cuda="13.0", repair_files=[BASHRC])
    assert [change["action"] for change in decision["changes"]] == ["remove"]
    assert decision["digest"] == before["digest"]


def test_a_decision_without_an_environment_has_no_repairs() -> None:
    assert changes_of_repairs({"environment": None, "changes": [{"role": "gpu_environment", "what": CACHE}]}) == []
