"""The module: files of others below a root, check mode and real, the second time, what is refused, and ldconfig."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.modules import file_repairs as module

COMPAT = "/usr/local/cuda/compat"
LINE = f"export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH"
TEXT = f"# mine\nexport PATH=/c/bin:$PATH; {LINE}\n{LINE}\nexport CUDA_VISIBLE_DEVICES=0,0\n"
CONF = "/etc/ld.so.conf.d/000_cuda.conf"
Run = Callable[..., dict[str, Any]]


def row(path: str, number: int, line: str, variable: str = "LD_LIBRARY_PATH", *values: str) -> dict[str, Any]:
    return {"path": path, "number": number, "line": line, "variable": variable, "values": list(values or [COMPAT])}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host's files: a start-up file, /etc/environment, and the loader's."""
    for folder in ("root", "etc/ld.so.conf.d", "opt/podsmith"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root/.bashrc").write_text(TEXT)
    (tmp_path / "root/.bashrc").chmod(0o640)
    (tmp_path / "etc/environment").write_text(f'PATH="/bin"\nLD_LIBRARY_PATH="{COMPAT}:/y"\n')
    (tmp_path / "etc/ld.so.preload").write_text(f"{COMPAT}/libcuda.so.1\n")
    (tmp_path / CONF[1:]).write_text(f"/a\n{COMPAT}\n")
    return tmp_path


@pytest.fixture
def run(run_module: Callable[..., Any], root: Path) -> Run:
    def call(*repairs: dict[str, Any], check: bool = False, fails: bool = False, **params: Any) -> dict[str, Any]:
        params = {"repairs": list(repairs), "sysroot": str(root), **params}
        ran = run_module("file_repairs", params, check=check, diff=True)
        assert ran.failed == fails, ran
        return dict(ran.data)

    return call


@pytest.fixture
def run_again(run_module_in_a_process: Callable[..., Any], root: Path) -> Run:
    """In a process of its own: what a module warns of would stay in this one."""

    def call(*repairs: dict[str, Any], **params: Any) -> dict[str, Any]:
        ran = run_module_in_a_process("file_repairs", {"repairs": list(repairs), "sysroot": str(root), **params})
        assert not ran.failed, ran
        return dict(ran.data)

    return call


FILES = [
    row("/root/.bashrc", 2, f"export PATH=/c/bin:$PATH; {LINE}"),
    row("/root/.bashrc", 3, LINE),
    row("/root/.bashrc", 4, "export CUDA_VISIBLE_DEVICES=0,0", "CUDA_VISIBLE_DEVICES", "0,0"),
    row("/etc/environment", 2, f'LD_LIBRARY_PATH="{COMPAT}:/y"'),
    row("/etc/ld.so.preload", 1, f"{COMPAT}/libcuda.so.1", "", f"{COMPAT}/libcuda.so.1"),
]
CHANGED = [
    f"{path}{end}"
    for path in ("/root/.bashrc", "/etc/environment", "/etc/ld.so.preload")
    for end in (".podsmith-backup", "")
]


def snapshot(root: Path) -> dict[str, tuple[str, int]]:
    return {str(path): (path.read_text(), path.stat().st_mode) for path in sorted(root.rglob("*")) if path.is_file()}


def test_files_of_every_kind(root: Path, run: Run) -> None:
    before = snapshot(root)
    planned = run(*FILES, check=True)
    assert snapshot(root) == before
    done = run(*FILES)
    assert planned["paths"] == done["paths"] == CHANGED
    assert (done["changed"], done["left"]) == (True, [])
    assert (root / "root/.bashrc").read_text() == "# mine\nexport PATH=/c/bin:$PATH\n"
    assert (root / "etc/environment").read_text() == 'PATH="/bin"\nLD_LIBRARY_PATH="/y"\n'
    assert (root / "etc/ld.so.preload").read_text() == ""
    kept = root / "root/.bashrc.podsmith-backup"
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (TEXT, 0o640)
    assert (root / "root/.bashrc").stat().st_mode & 0o777 == 0o640
    assert [entry["before_header"] for entry in done["diff"]] == CHANGED
    assert done["diff"][1]["before"] == TEXT


def test_the_second_time_the_lines_are_gone_and_nothing_changes(root: Path, run: Run, run_again: Run) -> None:
    run(*FILES)
    before = snapshot(root)
    again = run_again(*FILES)
    assert (again["changed"], again["paths"], len(again["left"])) == (False, [], len(FILES))
    assert again["left"][1] == {"path": "/root/.bashrc", "line": LINE, "because": f"line 3 is no longer: {LINE}"}
    assert f"/root/.bashrc: line 3 is no longer: {LINE}; it was left as it is." in str(again["warnings"])
    assert snapshot(root) == before


def test_a_later_repair_keeps_both_texts(root: Path, run: Run) -> None:
    run(*FILES[:3])
    later = f"# later\n{LINE}\n"
    (root / "root/.bashrc").write_text(later)
    assert run(row("/root/.bashrc", 2, LINE))["paths"] == ["/root/.bashrc.podsmith-backup.1", "/root/.bashrc"]
    assert (root / "root/.bashrc.podsmith-backup").read_text() == TEXT
    assert (root / "root/.bashrc.podsmith-backup.1").read_text() == later


def test_what_is_refused_fails_after_the_rest_was_repaired(root: Path, run: Run) -> None:
    (root / "srv").mkdir()
    (root / "srv/shared").write_text(f"{LINE}\n")
    (root / "etc/profile").symlink_to("/srv/shared")
    loop = "for d in /a; do LD_LIBRARY_PATH=$d:$LD_LIBRARY_PATH; done"
    (root / "root/.profile").write_text(f"{loop}\n")
    answer = run(row("/etc/profile", 1, LINE), row("/root/.profile", 1, loop), *FILES[:3], fails=True)
    assert answer["msg"] == (
        f"/etc/profile: it is a link to /srv/shared, outside /etc; remove it by hand: {LINE} /root/.profile: it"
        f" cannot be removed from that line without changing what else the line does; remove it by hand: {loop}"
    )
    assert (root / "srv/shared").read_text() == f"{LINE}\n"
    assert answer["paths"] == CHANGED[:2]


def test_a_file_that_cannot_be_written_is_named(root: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object, _source: str, target: str, **_more: object) -> None:
        raise OSError(30, "Read-only file system", target)

    monkeypatch.setattr(module.AnsibleModule, "atomic_move", refuse)
    answer = run(FILES[1], fails=True)
    assert answer["msg"] == (
        f"{root}/root/.bashrc cannot be changed (Read-only file system); make it writable for this user, or remove the"
        " lines by hand."
    )
    assert answer["paths"] == CHANGED[:1], "what was not written has not changed"


def test_a_file_that_cannot_be_replaced_does_not_keep_others_from_their_repair(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an immutable file (chattr +i) Ansible tells in an exception of its own."""
    move = module.AnsibleModule.atomic_move

    def refuse(self: Any, source: str, target: str, **more: Any) -> None:
        if target.endswith(".bashrc"):
            raise Exception(f"Unable to make {source} into {target}") from PermissionError(1, "x", b"/t")  # noqa: TRY002
        move(self, source, target, **more)

    monkeypatch.setattr(module.AnsibleModule, "atomic_move", refuse)
    answer = run(FILES[1], *FILES[3:], fails=True)
    assert answer["msg"] == (
        f"{root}/root/.bashrc cannot be changed (Operation not permitted); make it writable for this user, or remove"
        " the lines by hand."
    )
    assert answer["paths"] == [CHANGED[0], *CHANGED[2:]]


def test_a_copy_lies_where_its_file_does_and_is_named_so(root: Path, run: Run) -> None:
    """Dotfiles are links into a folder of their manager, and ~/.bashrc reads whatever lies in ~/.bashrc.d."""
    (root / "root/.dotfiles").mkdir()
    (root / "root/.dotfiles/profile").write_text(f"{LINE}\n")
    (root / "root/.profile").symlink_to(".dotfiles/profile")
    (root / "root/.bashrc.d").mkdir()
    (root / "root/.bashrc.d/cuda").write_text(f"# cuda\n{LINE}\n")
    answer = run(row("/root/.profile", 1, LINE), row("/root/.bashrc.d/cuda", 2, LINE))
    assert answer["paths"] == [
        "/root/.dotfiles/profile.podsmith-backup", "/root/.profile",
        "/root/.bashrc.d/.cuda.podsmith-backup", "/root/.bashrc.d/cuda",
    ]  # fmt: skip
    assert (root / "root/.profile").is_symlink()
    assert (root / "root/.dotfiles/profile.podsmith-backup").read_text() == f"{LINE}\n"
    read = [path.read_text() for path in (root / "root/.bashrc.d").glob("[!.]*")]
    assert read == ["# cuda\n"], "what * finds there has the line no more"


def test_the_history_has_what_was_changed(root: Path, run: Run, run_again: Run) -> None:
    history = "/opt/podsmith/state/history.json"
    assert run(FILES[1], check=True, history=history)["paths"] == [*CHANGED[:2], history]
    assert not (root / "opt/podsmith/state").exists()
    assert run(FILES[1], history=history)["paths"] == [*CHANGED[:2], history]
    (entry,) = json.loads((root / history[1:]).read_text())
    assert (entry["action"], entry["changed"]) == ("repair", CHANGED[:2])
    run_again(FILES[1], history=history)
    assert len(json.loads((root / history[1:]).read_text())) == 1, "a run without a change is no entry"


# --- the loader's cache ---


LDCONFIG = f"""#!/bin/sh
shift 2
echo "$*" >>LOG
case $1 in
-N) echo /lib: ;;
-p) grep -q '^$' LOG || printf '\\tlibcuda.so.1 (libc6) => {COMPAT}/libcuda.so.1\\n' ;;
esac
"""


@pytest.fixture
def calls(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ldconfig that lists a compat folder in the cache until it was run, and writes down how it was called."""
    script, log = root / "ldconfig", root / "calls"
    script.write_text(LDCONFIG.replace("LOG", str(log)))
    script.chmod(0o755)
    known = module.AnsibleModule.get_bin_path

    def find(self: Any, name: str, *more: Any, **options: Any) -> Any:
        return str(script) if name == "ldconfig" else known(self, name, *more, **options)

    monkeypatch.setattr(module.AnsibleModule, "get_bin_path", find)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda *_arguments: None)
    return log


CACHE = {"path": "/etc/ld.so.cache", "kind": "loader_cache", "values": [COMPAT]}
CONFIGURED = row(CONF, 2, COMPAT, "")


@pytest.mark.parametrize(
    ("repairs", "changed"),
    [
        pytest.param([CONFIGURED], [f"{CONF}.podsmith-backup", CONF, "/etc/ld.so.cache"], id="its-configuration"),
        pytest.param([CACHE], ["/etc/ld.so.cache"], id="its-cache-alone"),
        pytest.param(
            [CONFIGURED, CACHE], [f"{CONF}.podsmith-backup", CONF, "/etc/ld.so.cache"], id="both-with-one-run"
        ),
    ],
)
def test_ldconfig_follows(repairs: list[dict[str, Any]], changed: list[str], calls: Path, run: Run) -> None:
    assert run(*repairs, check=True)["paths"] == changed
    assert "" not in calls.read_text().splitlines() if calls.exists() else True, "check mode has made the cache anew"
    assert run(*repairs)["paths"] == changed
    assert calls.read_text().splitlines().count("") == 1
    again = run(CACHE)
    assert (again["changed"], again["paths"]) == (False, [])


def test_no_other_file_needs_ldconfig(calls: Path, run: Run) -> None:
    run(*FILES)
    assert not calls.exists()


def test_a_missing_ldconfig_is_told_after_the_files_were_repaired(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = module.AnsibleModule.get_bin_path
    monkeypatch.setattr(
        module.AnsibleModule,
        "get_bin_path",
        lambda self, name, *more, **options: None if name == "ldconfig" else known(self, name, *more, **options),
    )
    answer = run(CONFIGURED, fails=True)
    assert answer["msg"] == "The loader's cache is as it was: ldconfig is not installed. Run ldconfig as root."
    assert (root / CONF[1:]).read_text() == "/a\n"


def test_without_root_ldconfig_is_not_tried(calls: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    answer = run(CACHE, fails=True)
    assert answer["msg"] == "The loader's cache is as it was: ldconfig needs root. Run ldconfig as root."
    assert not calls.exists()


def test_the_shell_that_reads_the_file_is_its_own(root: Path, run: Run) -> None:
    """The whole of a function's body: bash -n refuses the file without it, so a command that does nothing stays."""
    assert shutil.which("bash")
    (root / "root/.bashrc").write_text(f"f()\n(\n{LINE}\n)\n")
    run(row("/root/.bashrc", 3, LINE))
    assert (root / "root/.bashrc").read_text() == "f()\n(\n:\n)\n"
