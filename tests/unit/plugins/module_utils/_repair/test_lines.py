"""A setting is taken out of its line, and what else the line does stays."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import CSH, FISH, PAM, SH, list_pam_lines
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.lines import (
    FOLDERS,
    LIBRARIES,
    Edit,
    edit_line,
    form_of,
    is_system_folder,
)

COMPAT, STUBS, PATH = "/usr/local/cuda/compat", "/usr/local/cuda/lib64/stubs", "LD_LIBRARY_PATH"
LIBCUDA, DEVICES = f"{COMPAT}/libcuda.so.1", "CUDA_VISIBLE_DEVICES"
GONE = None  # the whole line

# The line, and what is left of it.
LINES = [
    (f"export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH", GONE),
    (f"  export LD_LIBRARY_PATH={COMPAT}  # for the old driver", GONE),
    ("export LD_LIBRARY_PATH=$CUDA_HOME/compat:$LD_LIBRARY_PATH", GONE),
    ('export LD_LIBRARY_PATH="${CUDA_HOME}/compat/:${LD_LIBRARY_PATH}"', GONE),
    (
        'export LD_LIBRARY_PATH="${CUDA_HOME}/lib64:${CUDA_HOME}/compat:${LD_LIBRARY_PATH}"',
        'export LD_LIBRARY_PATH="${CUDA_HOME}/lib64:${LD_LIBRARY_PATH}"',
    ),
    (f"[ -d {COMPAT} ] && export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH", GONE),
    (f"if [ -d {COMPAT} ]; then export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH; fi", GONE),
    (
        f"if [ -d {COMPAT} ]; then export LD_LIBRARY_PATH={COMPAT}:/a; fi",
        f"if [ -d {COMPAT} ]; then export LD_LIBRARY_PATH=/a; fi",
    ),
    (
        f"if mount_it; then export LD_LIBRARY_PATH={COMPAT}; else echo no; fi",
        "if mount_it; then :; else echo no; fi",
    ),
    (f"if true; then echo a; export LD_LIBRARY_PATH={COMPAT}; fi", "if true; then echo a; fi"),
    (f"export PATH=/c/bin:$PATH; export LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH", "export PATH=/c/bin:$PATH"),
    (f"export LD_LIBRARY_PATH={COMPAT}; export PATH=/c/bin:$PATH", "export PATH=/c/bin:$PATH"),
    (f"export PATH=/c/bin:$PATH LD_LIBRARY_PATH={COMPAT}:$LD_LIBRARY_PATH", "export PATH=/c/bin:$PATH"),
    (f"export LD_LIBRARY_PATH={COMPAT} PATH=/c/bin:$PATH", "export PATH=/c/bin:$PATH"),
    (f"export A LD_LIBRARY_PATH={COMPAT}", "export A"),
    (
        f'export LD_LIBRARY_PATH="/usr/local/cuda/lib64":{COMPAT}:$LD_LIBRARY_PATH',
        'export LD_LIBRARY_PATH="/usr/local/cuda/lib64:$LD_LIBRARY_PATH"',
    ),
    (f"export LD_LIBRARY_PATH+=:{COMPAT}", GONE),
    (f"export LD_LIBRARY_PATH+=:/a:{COMPAT}", "export LD_LIBRARY_PATH+=:/a"),
    (f"typeset -x LD_LIBRARY_PATH={COMPAT}", GONE),
    (f"declare -gx LD_LIBRARY_PATH=/a:{COMPAT}", "declare -gx LD_LIBRARY_PATH=/a"),
    (f"export LD_LIBRARY_PATH={COMPAT} 2>/dev/null", GONE),
    (f"export LD_LIBRARY_PATH={COMPAT}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}", GONE),
    (f"export LD_LIBRARY_PATH=${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{COMPAT}", GONE),
    (
        f"export LD_LIBRARY_PATH=/a:{COMPAT}${{LD_LIBRARY_PATH:+:${{LD_LIBRARY_PATH}}}}",
        "export LD_LIBRARY_PATH=/a${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}",
    ),
    (  # no colon may be left at an end: it stands for the working folder
        f"export LD_LIBRARY_PATH={COMPAT}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}:/b",
        "export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/b",
    ),
    (
        f"export LD_LIBRARY_PATH=/a:${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{COMPAT}",
        "export LD_LIBRARY_PATH=/a${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}",
    ),
    (f"  LD_LIBRARY_PATH='/x y:{COMPAT}'", "  LD_LIBRARY_PATH='/x y'"),
    ("export LD_LIBRARY_PATH=$COMPAT_DIR:$LD_LIBRARY_PATH", GONE),
    (f"a && b; export LD_LIBRARY_PATH={COMPAT} || true # x", "a && b; : || true # x"),
    (f"f() {{ export LD_LIBRARY_PATH={COMPAT}; }}", "f() { :; }"),
    (f"case $x in a) export LD_LIBRARY_PATH={COMPAT} ;; esac", "case $x in a) : ;; esac"),
    (f"export LD_LIBRARY_PATH={COMPAT} \\", "export \\"),
]
# Nothing is taken out where it would not be the setting alone.
UNTOUCHED = [
    f"LD_LIBRARY_PATH={COMPAT} python train.py",
    f"env LD_LIBRARY_PATH={COMPAT} python train.py",
    f"echo LD_LIBRARY_PATH={COMPAT}",
    f"# export LD_LIBRARY_PATH={COMPAT}",
    f"export PATH={COMPAT}",
    "export LD_LIBRARY_PATH=/a:$LD_LIBRARY_PATH",
    'export LD_LIBRARY_PATH="/usr/local/cuda/compat',
    f"LD_LIBRARY_PATH='/x$y:'\"{COMPAT}\":/z",
    "for d in /a /b; do LD_LIBRARY_PATH=$d:$LD_LIBRARY_PATH; done",
    "export LD_LIBRARY_PATH=$1:$LD_LIBRARY_PATH",
]


@pytest.mark.parametrize(("line", "kept"), LINES)
def test_a_folder_goes_and_the_rest_of_the_line_stays(line: str, kept: str | None) -> None:
    edit = edit_line(line, SH, PATH, [COMPAT])
    assert edit is not None
    assert edit.kept == kept
    assert edit.taken
    if kept:
        assert edit_line(kept, SH, PATH, [COMPAT]) is None, "the second time there is nothing to take out"


@pytest.mark.parametrize("line", UNTOUCHED)
def test_what_is_no_such_setting_is_left(line: str) -> None:
    assert edit_line(line, SH, PATH, [COMPAT]) is None


VALUES = [row for row in LINES if PATH in (row[1] or "") and not row[0].startswith("if ")]


@pytest.mark.parametrize(("line", "kept"), VALUES)
@pytest.mark.parametrize("former", ["", "/former:/other"])
def test_bash_gets_the_same_path_without_the_folder(line: str, kept: str, former: str) -> None:
    bash = shutil.which("bash")
    assert bash
    environ = {"CUDA_HOME": "/usr/local/cuda"} | ({PATH: former} if former else {})
    paths = []
    for text in (line, kept):
        argv = [bash, "-c", f'{text}\nprintf %s "$LD_LIBRARY_PATH"']
        paths.append(subprocess.run(argv, env=environ, capture_output=True, text=True, check=True).stdout)
    before, after = paths
    assert after.split(":") == [folder for folder in before.split(":") if folder.rstrip("/") != COMPAT]
    assert "" not in after.split(":") or "" in before.split(":"), "an empty entry is the working folder"


def test_two_folders_of_one_line_go_together() -> None:
    line = f"export LD_LIBRARY_PATH={COMPAT}:/a:{STUBS}:$LD_LIBRARY_PATH"
    assert edit_line(line, SH, PATH, [COMPAT, STUBS]) == Edit(
        "export LD_LIBRARY_PATH=/a:$LD_LIBRARY_PATH", (COMPAT, STUBS)
    )


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"  LD_LIBRARY_PATH={COMPAT}", ""),
        (f"  LD_LIBRARY_PATH={COMPAT} \\", "   \\"),
        (f"  A=1 LD_LIBRARY_PATH={COMPAT} B=2", "  A=1 B=2"),
    ],
)
def test_the_second_line_of_a_command_stays_a_part_of_it(line: str, kept: str) -> None:
    edit = edit_line(line, SH, PATH, [COMPAT], continues=True)
    assert edit is not None
    assert (edit.kept or "").split() == kept.split()
    assert edit.kept is not None, "the line must stay: without it the next one would be part of the command"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"export LD_PRELOAD={LIBCUDA}", GONE),
        (f'export LD_PRELOAD="{LIBCUDA} /y/libjemalloc.so"', 'export LD_PRELOAD="/y/libjemalloc.so"'),
        (f"export LD_PRELOAD=/y/libjemalloc.so:{LIBCUDA}", "export LD_PRELOAD=/y/libjemalloc.so"),
        (f"export LD_PRELOAD={LIBCUDA}${{LD_PRELOAD:+:$LD_PRELOAD}}", GONE),
        ("export LD_PRELOAD=/y/libjemalloc.so", "untouched"),
    ],
)
def test_preloads_of_a_variable(line: str, kept: str | None) -> None:
    edit = edit_line(line, SH, "LD_PRELOAD", [LIBCUDA])
    assert (edit.kept if edit else "untouched") == kept


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("export CUDA_VISIBLE_DEVICES=none", GONE),
        ('export CUDA_VISIBLE_DEVICES=""', GONE),
        ("export CUDA_VISIBLE_DEVICES=", GONE),
        ("export A=1 CUDA_VISIBLE_DEVICES=0,0 B=2", "export A=1 B=2"),
        ("CUDA_VISIBLE_DEVICES= python x.py", "untouched"),
    ],
)
def test_a_variable_that_is_no_list_goes_whole(line: str, kept: str | None) -> None:
    edit = edit_line(line, SH, DEVICES, [])
    assert (edit.kept if edit else "untouched") == kept


@pytest.mark.parametrize(
    ("line", "name", "values", "kept"),
    [
        (f'LD_LIBRARY_PATH="{COMPAT}:/y"', PATH, [COMPAT], 'LD_LIBRARY_PATH="/y"'),
        (f"LD_LIBRARY_PATH={COMPAT}", PATH, [COMPAT], GONE),
        (f"LD_LIBRARY_PATH={COMPAT} # old", PATH, [COMPAT], GONE),
        (f"LD_LIBRARY_PATH=/y:{COMPAT} # old", PATH, [COMPAT], "LD_LIBRARY_PATH=/y # old"),
        (f"export LD_LIBRARY_PATH=/y:{COMPAT}", PATH, [COMPAT], "export LD_LIBRARY_PATH=/y"),
        ("CUDA_VISIBLE_DEVICES=0,0", DEVICES, [], GONE),
        (f"LD_PRELOAD={LIBCUDA}", "LD_PRELOAD", [LIBCUDA], GONE),
        (f"PATH={COMPAT}", PATH, [COMPAT], "untouched"),
        (f"LD_LIBRARY_PATH DEFAULT={COMPAT}", PATH, [COMPAT], GONE),
        (f"LD_LIBRARY_PATH DEFAULT=/a OVERRIDE={COMPAT}:/b", PATH, [COMPAT], "LD_LIBRARY_PATH DEFAULT=/a OVERRIDE=/b"),
        (f'LD_LIBRARY_PATH DEFAULT="/a" OVERRIDE="{COMPAT}"', PATH, [COMPAT], 'LD_LIBRARY_PATH DEFAULT="/a"'),
        (f"PATH DEFAULT={COMPAT}", PATH, [COMPAT], "untouched"),
    ],
)
def test_a_line_of_etc_environment(line: str, name: str, values: list[str], kept: str | None) -> None:
    edit = edit_line(line, PAM, name, values)
    assert (edit.kept if edit else "untouched") == kept
    read = [value for _line, found, value in list_pam_lines(line) if found == name]
    assert bool(read) == (edit is not None), "what observation reads as a setting is what a repair edits"
    if edit:
        after = [value for _line, found, value in list_pam_lines(edit.kept or "") if found == name]
        assert not any(value in entry for value in values for entry in after)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"setenv LD_LIBRARY_PATH {COMPAT}", GONE),
        (f"    setenv LD_LIBRARY_PATH {COMPAT}:${{LD_LIBRARY_PATH}}  # old", GONE),
        (f'setenv LD_LIBRARY_PATH "/a:{COMPAT}:$LD_LIBRARY_PATH"', 'setenv LD_LIBRARY_PATH "/a:$LD_LIBRARY_PATH"'),
        (f"if ( -d {COMPAT} ) setenv LD_LIBRARY_PATH {COMPAT}", GONE),
        (f"echo a; setenv LD_LIBRARY_PATH {COMPAT}", "untouched"),
        (f"setenv PATH {COMPAT}", "untouched"),
        (f"# setenv LD_LIBRARY_PATH {COMPAT}", "untouched"),
    ],
)
def test_a_line_of_csh(line: str, kept: str | None) -> None:
    edit = edit_line(line, CSH, PATH, [COMPAT])
    assert (edit.kept if edit else "untouched") == kept


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (f"set -gx LD_LIBRARY_PATH {COMPAT} $LD_LIBRARY_PATH", GONE),
        (
            f"    set -x -g LD_LIBRARY_PATH /a {COMPAT} $LD_LIBRARY_PATH",
            "    set -x -g LD_LIBRARY_PATH /a $LD_LIBRARY_PATH",
        ),
        (f'set -gx LD_LIBRARY_PATH "{COMPAT}:/b"', 'set -gx LD_LIBRARY_PATH "/b"'),
        (f"test -d /a; and set -gx LD_LIBRARY_PATH {COMPAT}", "untouched"),
        (f"set -gx PATH {COMPAT} $PATH", "untouched"),
    ],
)
def test_a_line_of_fish(line: str, kept: str | None) -> None:
    edit = edit_line(line, FISH, PATH, [COMPAT])
    assert (edit.kept if edit else "untouched") == kept


@pytest.mark.parametrize(
    ("line", "form", "values", "kept"),
    [
        (COMPAT, FOLDERS, [COMPAT], GONE),
        (f"  {COMPAT}/  # from the image", FOLDERS, [COMPAT], GONE),
        ("/usr/local/lib", FOLDERS, [COMPAT], "untouched"),
        (f"# {COMPAT}", FOLDERS, [COMPAT], "untouched"),
        (LIBCUDA, LIBRARIES, [LIBCUDA], GONE),
        (f"{LIBCUDA} /y/z.so # both", LIBRARIES, [LIBCUDA], "/y/z.so # both"),
        (f"/y/z.so:{LIBCUDA}", LIBRARIES, [LIBCUDA], "/y/z.so"),
        (f"/y/{LIBCUDA[1:]}", LIBRARIES, [LIBCUDA], "untouched"),
    ],
)
def test_a_line_of_the_loaders_own_files(line: str, form: str, values: list[str], kept: str | None) -> None:
    edit = edit_line(line, form, "", values)
    assert (edit.kept if edit else "untouched") == kept


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/root/.bashrc", SH),
        ("/etc/profile.d/cuda.sh", SH),
        ("/etc/environment", PAM),
        ("/home/ada/.config/environment.d/cuda.conf", PAM),
        ("/etc/ld.so.conf", FOLDERS),
        ("/etc/ld.so.conf.d/000_cuda.conf", FOLDERS),
        ("/etc/ld.so.preload", LIBRARIES),
        ("/root/.pam_environment", PAM),
        ("/etc/security/pam_env.conf", PAM),
        ("/root/.tcshrc", CSH),
        ("/etc/profile.d/cuda.csh", CSH),
        ("/root/.config/fish/config.fish", FISH),
    ],
)
def test_a_file_is_known_by_its_place(path: str, form: str) -> None:
    assert form_of(path) == form


def test_folders_of_the_system_are_known() -> None:
    assert is_system_folder("/usr/lib/x86_64-linux-gnu/")
    assert is_system_folder("/usr/local/nvidia/lib64")
    assert not is_system_folder(COMPAT)
