# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host import child as _observe_child
from ansible_collections.podsmith.gpu.plugins.module_utils._host.child import Outcome, start_call
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.driver import read_nvml
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import (
    MARK,
    Sources,
    Way,
    find_live_python,
    find_native,
    fresh_environment,
    is_wrong,
    list_ways,
    parse_pam_environment,
    parse_probe,
    read_sources,
    start_native,
    start_probe,
    start_way,
)

LIMIT = 120  # seconds: only a hang takes as long
LIBCUDA = """
#include <fcntl.h>
#include <unistd.h>
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuInit(unsigned flags)
{ if (CODE == -1) { creat(BEGUN, 0600); sleep(600); } if (CODE == -2) *(volatile int *)0 = 1; return CODE; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
"""
LIBNVML = """
#include <string.h>
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strcpy(text, "570.133.20"); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *)8; return index == 1 ? 15 : 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) { strcpy(text, "NVIDIA H100 80GB HBM3"); return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) { strcpy(text, "GPU-1b"); return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = 9; *minor = 0; return 0; }
int nvmlDeviceGetBrand(void *device, int *brand) { *brand = 14; return 0; }
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory) { memory[0] = 81559ULL << 20; return 0; }
int nvmlDeviceGetEccMode(void *device, int *current, int *pending) { *current = *pending = 1; return 0; }
int nvmlDeviceGetPciInfo_v3(void *device, char *info) { strcpy(info + 36, "00000000:3B:00.0"); return 0; }
"""


def said(*answers: dict[str, object], noise: str = "Welcome!\n") -> str:
    return noise + "".join(f"\n{MARK}{json.dumps(answer)}\n" for answer in answers)


FOUND = {"libcuda": "/usr/lib64/libcuda.so.570.133.20", "driver_api": 12080}


@pytest.mark.parametrize(
    ("outcome", "libcuda", "init", "devices"),
    [
        pytest.param(
            Outcome(0, said(FOUND, {**FOUND, "code": 0, "devices": 2})),
            FOUND["libcuda"],
            (0, "CUDA_SUCCESS"),
            2,
            id="ok",
        ),
        pytest.param(
            Outcome(0, said(FOUND, {**FOUND, "code": 803})),
            FOUND["libcuda"],
            (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
            0,
            id="803",
        ),
        pytest.param(
            Outcome(0, said(FOUND, {**FOUND, "code": 717})), FOUND["libcuda"], (717, "CUDA_ERROR_717"), 0, id="unnamed"
        ),
        pytest.param(Outcome(None, said(FOUND)), FOUND["libcuda"], (None, "TIMEOUT"), 0, id="hang-in-cuinit"),
        pytest.param(Outcome(None, "Welcome!\n"), None, (None, "TIMEOUT"), 0, id="hang-in-the-shell"),
        pytest.param(Outcome(-11, said(FOUND)), FOUND["libcuda"], (None, "SIGNAL_11"), 0, id="crash"),
        pytest.param(
            Outcome(None, said(FOUND) + f'{MARK}{{"libcu'), FOUND["libcuda"], (None, "TIMEOUT"), 0, id="cut-off"
        ),
        pytest.param(Outcome(0, said({}, {"libcuda": None, "error": "not found"})), None, None, 0, id="no-libcuda"),
        pytest.param(Outcome(None, said({})), None, (None, "TIMEOUT"), 0, id="hang-in-the-loader"),
        pytest.param(Outcome(1, said(FOUND)), FOUND["libcuda"], (None, "ENDED"), 0, id="it-called-exit"),
        pytest.param(Outcome(-7, said({})), None, (None, "SIGNAL_7"), 0, id="crash-in-the-loader"),
    ],
)
def test_probe(outcome: Outcome, libcuda: str | None, init: tuple[int | None, str] | None, devices: int) -> None:
    loader = parse_probe(outcome)
    assert loader["init"] == (None if init is None else {"code": init[0], "name": init[1]})
    assert (loader["libcuda"], loader["devices"], loader["compat_active"]) == (libcuda, devices, False)
    assert loader["driver_api"] == ("12.8" if libcuda else None)
    assert loader["version"] == ("570.133.20" if libcuda else None)
    assert loader.get("error") == ("not found" if init is None else None)


def test_a_probe_that_did_not_start_tells_nothing() -> None:
    assert parse_probe(Outcome(127, "exec: python: not found\n")) == {}


@pytest.mark.parametrize(
    ("path", "is_active"),
    [
        ("/usr/local/cuda-13.0/compat/libcuda.so.580.95.05", True),
        ("/usr/local/cuda-13.2/compat_orin/libcuda.so.1", True),
        ("/root/.local/share/podsmith/compat/13.0/libcuda.so.580.95.05", True),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05", False),
        ("/home/compatible/lib/libcuda.so.1", False),
    ],
)
def test_the_mapped_path_tells_whether_compat_is_active(path: str, is_active: bool) -> None:
    assert parse_probe(Outcome(0, said({"libcuda": path, "code": 0})))["compat_active"] is is_active


@pytest.mark.parametrize(
    ("path", "code", "version", "is_compat", "is_stub"),
    [
        ("/usr/lib64/libcuda.so.580.95.05", 0, "580.95.05", False, False),
        ("/usr/lib64/libcuda.so.580.95.05 (deleted)", 0, "580.95.05", False, False),
        ("/usr/local/cuda/compat/libcuda.so.580.95.05", 0, "580.95.05", True, False),
        ("/usr/local/cuda/lib64/stubs/libcuda.so", 34, None, False, True),
        ("/usr/lib/libcuda.so.1", 34, None, False, True),
        ("/usr/lib/libcuda.so.580.95.05", 34, None, False, True),
        ("/usr/lib/wsl/lib/libcuda.so.1.1", 0, None, False, False),
    ],
)
def test_the_library_is_told_by_its_file(
    path: str, code: int, version: str | None, is_compat: bool, is_stub: bool
) -> None:
    way = parse_probe(Outcome(0, said({"libcuda": path, "code": code, "environ": {"LD_PRELOAD": "x"}})))
    assert (way["version"], way["compat_active"], way["stub"]) == (version, is_compat, is_stub)
    assert way["environ"] == {"LD_PRELOAD": "x"}
    assert way["libcuda"] == path.partition(" ")[0]


OWN = "/usr/lib64/libcuda.so.570.133.20"
NEWER, SAME = "/c/compat/libcuda.so.580.95.05", "/c/compat/libcuda.so.570.133.20"
OLDER = "/c/compat/libcuda.so.550.54.15"


@pytest.mark.parametrize(
    ("libcuda", "code", "counted", "there", "flavor", "expected"),
    [
        pytest.param(OWN, 0, 1, 1, "open", False, id="well"),
        pytest.param(OWN, 0, 2, 1, "open", False, id="more"),
        pytest.param(OWN, 3, 0, 1, "open", True, id="code"),
        pytest.param(OWN, 100, 0, 0, "open", True, id="no-gpu"),
        pytest.param(OWN, "TIMEOUT", 0, 1, "open", True, id="hang"),
        pytest.param(None, None, 0, 1, "open", True, id="no-library"),
        pytest.param("/opt/libcuda.so.580.95.05", 0, 1, 1, "open", True, id="another-version"),
        pytest.param("/opt/libcuda.so.1", 0, 1, 1, "open", False, id="version-unknown"),
        pytest.param("/c/stubs/libcuda.so", 0, 1, 1, "open", True, id="stub"),
        pytest.param(OLDER, 0, 1, 1, "open", True, id="compat-older"),
        pytest.param(SAME, 0, 1, 1, "open", True, id="compat-for-nothing"),
        pytest.param(NEWER, 0, 1, 1, "open", False, id="compat-that-works"),
        pytest.param(NEWER, 804, 0, 1, "open", True, id="compat-that-does-not"),
        pytest.param(OWN, 0, 1, 2, "open", True, id="fewer-gpus"),
        pytest.param(OWN, 0, 1, "mig", "open", False, id="mig"),
        pytest.param("/usr/lib/wsl/lib/libcuda.so.1.1", 0, 1, 1, "windows", False, id="wsl"),
        pytest.param("/usr/lib64/libcuda.so.1", 0, 1, 1, "windows", True, id="wsl-another"),
    ],
)
def test_is_wrong(
    libcuda: str | None, code: int | str | None, counted: int, there: int | str, flavor: str, expected: bool
) -> None:
    answer = {"libcuda": libcuda, "devices": counted} | ({"code": code} if isinstance(code, int) else {})
    if libcuda is None:
        answer["error"] = "not found"
    way = parse_probe(Outcome(None if code == "TIMEOUT" else 0, said(answer)))
    devices = [{"mig": True}, {"mig": True}] if isinstance(there, str) else [{"mig": False}] * there
    assert is_wrong(way, {"version": "570.133.20", "flavor": flavor}, devices) is expected


def test_a_way_that_told_nothing_is_not_called_wrong() -> None:
    assert not is_wrong({}, {"version": "570.133.20"}, [{"mig": False}])


def test_the_drivers_own_answer_is_that_of_a_way_without_variables() -> None:
    driver = {"libcuda": OWN}
    bare = parse_probe(Outcome(0, said({"libcuda": OWN, "code": 0, "devices": 8})))
    hiding = parse_probe(Outcome(0, said({"libcuda": OWN, "code": 100, "environ": {"CUDA_VISIBLE_DEVICES": ""}})))
    other = parse_probe(Outcome(0, said({"libcuda": OLDER, "code": 803})))
    assert find_native([{}, hiding, other, bare], driver) is bare
    assert find_native([hiding, other], driver) is None
    assert find_native([parse_probe(Outcome(0, said({"error": "none"})))], {"libcuda": None}) is None


def sources(
    shell: str = "/bin/bash", image: dict[str, str] | None = None, pam: dict[str, str] | None = None
) -> Sources:
    login = {"HOME": "/root", "USER": "root", "SHELL": shell, "TERM": "dumb", "PATH": "/usr/bin"}
    return Sources(login, image or {}, pam or {})


def test_each_way_begins_as_its_users_do() -> None:
    image = {"LD_LIBRARY_PATH": "/image", "CUDA_HOME": "/c", "HOME": "/", "PATH": "/image/bin"}
    pam = {"BASH_ENV": "/opt/podsmith/activate.sh", "LANG": "de"}
    ways = {way.name: way for way in list_ways(Root(), sources(image=image, pam=pam), "/p/current/bin/python")}
    assert list(ways) == ["login", "interactive", "pam", "command", "service", "environment"]
    assert {name for name, way in ways.items() if "BASH_ENV" in way.env} == {"pam", "command"}
    assert {name for name, way in ways.items() if "SSH_CLIENT" in way.env} == {"command"}
    assert {name for name, way in ways.items() if "LD_LIBRARY_PATH" in way.env} == {
        "login",
        "interactive",
        "environment",
    }
    assert {name for name, way in ways.items() if way.env.get("CUDA_HOME")} == {"interactive", "environment"}
    assert [name for name, way in ways.items() if way.env["PATH"] == "/image/bin"] == [
        "interactive",
        "environment",
    ]
    assert all((way.env["HOME"], way.env["LANG"]) == ("/root", "de") for way in ways.values())
    assert {name for name, way in ways.items() if "TMUX" in way.env} == {"interactive"}
    assert not any("SHLVL" in way.env for way in ways.values())
    assert (ways["service"].shell, ways["environment"].python[0]) == (None, "/p/current/bin/python")
    assert "-S" not in ways["environment"].python


def test_without_a_live_environment_its_python_is_not_asked() -> None:
    assert "environment" not in {way.name for way in list_ways(Root(), sources())}


@pytest.mark.parametrize(
    ("shell", "there", "expected"),
    [
        pytest.param("/bin/bash", ["bin/bash"], ["/bin/bash"] * 4, id="bash"),
        pytest.param(
            "/usr/bin/zsh", ["bin/bash"], ["/usr/bin/zsh", "/usr/bin/zsh", "/bin/bash", "/usr/bin/zsh"], id="zsh"
        ),
        pytest.param(
            "/bin/dash", ["usr/bin/bash"], ["/bin/dash", "/usr/bin/bash", "/usr/bin/bash", "/bin/dash"], id="dash"
        ),
        pytest.param("/bin/ash", [], ["/bin/ash", "/bin/sh", "/bin/sh", "/bin/ash"], id="no-bash"),
    ],
)
def test_whose_shell_it_is(tmp_path: Path, shell: str, there: list[str], expected: list[str]) -> None:
    root = root_with(tmp_path, dict.fromkeys(there, b""))
    for name in there:
        (tmp_path / name).chmod(0o755)
    ways = {way.name: way.shell for way in list_ways(root, sources(shell))}
    assert [ways[name] for name in ("login", "interactive", "pam", "command")] == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param(
            b"LD_LIBRARY_PATH=/opt/podsmith/x:/usr/local/nvidia/lib64\0", "/usr/local/nvidia/lib64", id="ours"
        ),
        pytest.param(b"LD_LIBRARY_PATH=/c/compat:/a\0", "/c/compat:/a", id="the-images-own-compat"),
        pytest.param(b"LD_LIBRARY_PATH=/c/compat:/a\0PODSMITH_PREFIX=/p\0", "/a", id="an-activation"),
    ],
)
def test_an_activation_of_the_first_process_is_not_the_images(tmp_path: Path, environ: bytes, expected: str) -> None:
    root = root_with(tmp_path, {"proc/1/environ": environ})
    assert read_sources(root, {}, ["/opt/podsmith"]).image["LD_LIBRARY_PATH"] == expected


def test_the_live_python_is_run_where_its_files_are_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = root_with(tmp_path, {"opt/podsmith/environments/1-x/bin/python": b"#!/bin/sh\n"})
    assert find_live_python(root, ["/opt/podsmith"]) == (None, [])
    (tmp_path / "opt/podsmith/current").symlink_to("environments/1-x")
    assert find_live_python(root, ["/opt/podsmith"]) == (None, [])
    (tmp_path / "opt/podsmith/environments/1-x/bin/python").chmod(0o755)
    python = "/opt/podsmith/current/bin/python"
    assert find_live_python(root, ["/srv", "/opt/podsmith"]) == (python, [])
    monkeypatch.setattr(Root, "owner", lambda self, path: 4711)
    assert find_live_python(root, ["/opt/podsmith"]) == (
        None,
        [f"{python} was not run: /opt/podsmith belongs to another user (uid 4711)"],
    )


def test_pam_environment() -> None:
    text = "# A=/no\nPATH=\"/usr/bin:/bin\"\nexport LANG=C.UTF-8\nBASH_ENV='/opt/podsmith/activate.sh'\nnonsense\n"
    assert parse_pam_environment(text) == {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "BASH_ENV": "/opt/podsmith/activate.sh",
    }


def root_with(tmp_path: Path, files: dict[str, bytes]) -> Root:
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return Root(str(tmp_path))


def test_a_fresh_shell_starts_with_the_images_search_path(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"proc/1/environ": b"LD_LIBRARY_PATH=/usr/local/nvidia/lib64\0PATH=/x\0"})
    env = fresh_environment(root, {"LD_LIBRARY_PATH": "/operator"})
    assert env["LD_LIBRARY_PATH"] == "/usr/local/nvidia/lib64"
    assert "/x" not in env["PATH"]


def test_a_fresh_shell_is_one_that_somebody_logs_in_to(tmp_path: Path) -> None:
    root = root_with(tmp_path, {"etc/environment": b"BASH_ENV=/opt/podsmith/activate.sh\nLANG=de_DE.UTF-8\n"})
    env = fresh_environment(root, {})
    assert env["LANG"] == "de_DE.UTF-8"
    assert "BASH_ENV" not in env


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"}, "/usr/local/nvidia/lib64", id="image"),
        pytest.param({"LD_LIBRARY_PATH": "/usr/local/cuda/compat:/a"}, "/a", id="without-an-activation"),
        pytest.param({"LD_LIBRARY_PATH": "/opt/podsmith/x/lib"}, None, id="without-ours"),
        pytest.param({"LD_LIBRARY_PATH": "/a", "SSH_CONNECTION": "1 2 3 4"}, None, id="a-session-has-its-own"),
        pytest.param({}, None, id="none"),
    ],
)
def test_where_the_first_process_is_closed_this_one_stands_in(
    tmp_path: Path, environ: dict[str, str], expected: str | None
) -> None:
    env = fresh_environment(Root(str(tmp_path)), environ, ["/opt/podsmith"])
    assert env.get("LD_LIBRARY_PATH") == expected


def compile_library(folder: Path, name: str, source: str, *defines: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / name
    words = [f"-D{define}" for define in (*defines, f'BEGUN="{folder}/begun"')]
    argv = [compiler, "-w", "-shared", "-fPIC", f"-Wl,-soname,{name}", *words]
    subprocess.run([*argv, "-x", "c", "-", "-o", str(library)], input=source.encode(), check=True)
    return library


def shell_environment(home: Path, profile: str = "") -> dict[str, str]:
    (home / ".profile").write_text(profile, encoding="utf-8")
    return {**fresh_environment(Root(), {"SSH_CONNECTION": "x"}), "HOME": str(home), "SHELL": "/bin/sh"}


def test_the_shells_own_start_up_files_choose_the_library(tmp_path: Path) -> None:
    library = compile_library(tmp_path / "compat", "libcuda.so.1", LIBCUDA, "CODE=804")
    env = shell_environment(tmp_path, f"echo Welcome\nexport LD_LIBRARY_PATH={library.parent}\nsleep 60 &\n")
    assert parse_probe(start_probe(env, LIMIT).result()) == {
        "libcuda": str(library),
        "version": None,
        "driver_api": "13.0",
        "compat_active": True,
        "stub": False,
        "init": {"code": 804, "name": "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE"},
        "devices": 0,
        "environ": {"LD_LIBRARY_PATH": str(library.parent)},
    }


def test_an_interactive_bash_needs_no_terminal(tmp_path: Path) -> None:
    library = compile_library(tmp_path / "lib", "libcuda.so.1", LIBCUDA, "CODE=0")
    (tmp_path / ".bashrc").write_text(
        f'case $- in *i*) export LD_LIBRARY_PATH={library.parent} ;; esac\necho "$(tty)"\n', encoding="utf-8"
    )
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    way = Way("interactive", "/bin/bash", ("-ic",), env, (sys.executable, "-I", "-S"))
    assert parse_probe(start_way(way, LIMIT).result())["libcuda"] == str(library)


def test_the_bash_of_a_script_reads_what_pam_names(tmp_path: Path) -> None:
    library = compile_library(tmp_path / "lib", "libcuda.so.1", LIBCUDA, "CODE=0")
    (tmp_path / "env.sh").write_text(f"export LD_LIBRARY_PATH={library.parent}\n", encoding="utf-8")
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "BASH_ENV": f"{tmp_path}/env.sh"}
    way = Way("pam", "/bin/bash", ("-c",), env, (sys.executable, "-I", "-S"))
    assert parse_probe(start_way(way, LIMIT).result())["devices"] == 2


@pytest.mark.parametrize("path", [path for path in map(shutil.which, ("bash", "dash", "zsh", "fish")) if path])
def test_every_shell_starts_the_probe(tmp_path: Path, path: str) -> None:
    library = compile_library(tmp_path / "lib", "libcuda.so.1", LIBCUDA, "CODE=0")
    env = {**os.environ, "HOME": str(tmp_path)}
    for flags in ("-lc", "-ic", "-c"):
        way = Way("x", path, (flags,), env, (sys.executable, "-I", "-S"))
        assert parse_probe(start_way(way, LIMIT, [str(library.parent)]).result())["libcuda"] == str(library)


def test_a_program_without_a_shell_shows_the_loader(tmp_path: Path) -> None:
    library = compile_library(tmp_path / "lib", "libcuda.so.1", LIBCUDA, "CODE=0")
    for env, found in (({}, None), ({"LD_LIBRARY_PATH": str(library.parent)}, str(library))):
        way = Way("service", None, (), env, (sys.executable, "-I", "-S"))
        answer = parse_probe(start_way(way, LIMIT).result())
        assert (answer["libcuda"], answer["environ"]) == (found, env)
        assert ("libcuda.so.1: cannot open shared object file" in answer.get("error", "")) is (found is None)


def test_a_library_is_asked_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = compile_library(tmp_path, "libcuda.so.1", LIBCUDA, "CODE=0")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/nowhere")
    answer = parse_probe(start_native(str(library), LIMIT).result())
    assert (answer["libcuda"], answer["devices"], answer["environ"]) == (str(library), 2, {})


def test_of_two_libraries_the_one_that_answers_is_told(tmp_path: Path) -> None:
    first = compile_library(tmp_path / "first", "libcuda.so.1", LIBCUDA, "CODE=803")
    second = compile_library(tmp_path / "second", "libcuda.so.1", LIBCUDA, "CODE=0")
    env = {"LD_PRELOAD": f"{first}:{second}"}
    answer = parse_probe(start_way(Way("service", None, (), env, (sys.executable, "-I", "-S")), LIMIT).result())
    assert (answer["libcuda"], answer["init"]["code"]) == (str(first), 803)
    assert answer["environ"] == env


def test_a_given_path_goes_before_the_shells(tmp_path: Path) -> None:
    first = compile_library(tmp_path / "first", "libcuda.so.1", LIBCUDA, "CODE=0")
    second = compile_library(tmp_path / "second", "libcuda.so.1", LIBCUDA, "CODE=803")
    env = shell_environment(tmp_path, f"export LD_LIBRARY_PATH={second.parent}\n")
    assert parse_probe(start_probe(env, LIMIT).result())["init"]["code"] == 803
    loader = parse_probe(start_probe(env, LIMIT, [str(first.parent)]).result())
    assert (loader["libcuda"], loader["devices"]) == (str(first), 2)


def test_a_hang_in_cuinit_ends_at_the_limit_and_names_the_library(
    tmp_path: Path, stop_clock_until: Callable[[ModuleType, Path], None]
) -> None:
    library = compile_library(tmp_path / "hang", "libcuda.so.1", LIBCUDA, "CODE=-1")
    stop_clock_until(_observe_child, library.with_name("begun"))
    loader = parse_probe(start_probe(shell_environment(tmp_path), 2, [str(library.parent)]).result())
    assert (loader["libcuda"], loader["init"]) == (str(library), {"code": None, "name": "TIMEOUT"})


def test_a_crash_in_cuinit_is_a_finding(tmp_path: Path) -> None:
    library = compile_library(tmp_path / "crash", "libcuda.so.1", LIBCUDA, "CODE=-2")
    loader = parse_probe(start_probe(shell_environment(tmp_path), LIMIT, [str(library.parent)]).result())
    assert loader["init"] == {"code": None, "name": "SIGNAL_11"}


def ask_nvml(library: Path, own_cuda: Path | None = None) -> dict[str, object]:
    call = start_call(lambda: read_nvml([str(library)], str(own_cuda) if own_cuda else None), LIMIT)
    answer: dict[str, object] = json.loads(call.result().out)
    return answer


def test_nvml_tells_the_driver_and_a_gpu_off_the_bus(tmp_path: Path) -> None:
    nvml = compile_library(tmp_path, "libnvidia-ml.so.1", LIBNVML, "INIT=0")
    cuda = compile_library(tmp_path, "libcuda.so.1", LIBCUDA, "CODE=0")
    assert ask_nvml(nvml, cuda) == {
        "init": 0,
        "version": "570.133.20",
        "cuda": "12.8",
        "count": 2,
        "lost": 1,
        "devices": [
            {
                "index": 0,
                "name": "NVIDIA H100 80GB HBM3",
                "uuid": "GPU-1b",
                "compute_capability": "9.0",
                "brand": "nvidia",
                "brand_id": 14,
                "memory_mib": 81559,
                "mig": False,
                "pci_id": "0000:3b:00.0",
                "ecc": True,
                "virtual": None,
                "compute_mode": None,
                "xid": None,
            }
        ],
        "problems": ["GPU 1 has fallen off the bus; restart the host"],
    }


def test_without_the_drivers_libcuda_its_level_is_unknown(tmp_path: Path) -> None:
    assert ask_nvml(compile_library(tmp_path, "libnvidia-ml.so.1", LIBNVML, "INIT=0"))["cuda"] is None


def test_nvml_says_that_the_library_does_not_fit(tmp_path: Path) -> None:
    answer = ask_nvml(compile_library(tmp_path, "libnvidia-ml.so.1", LIBNVML, "INIT=18"))
    assert (answer["init"], answer["devices"]) == (18, [])


def test_the_shell_is_one_that_takes_a_script() -> None:
    shell = fresh_environment(Root(), dict(os.environ))["SHELL"]
    assert Path(shell).name in {"ash", "bash", "dash", "fish", "ksh", "sh", "zsh"}
