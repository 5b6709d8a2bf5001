# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import CUDA_VARIABLES
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.trace import (
    BEGIN,
    SEP,
    UNSET,
    Started,
    Step,
    Suspect,
    blame,
    find_causes,
    find_suspects,
    list_bash_files,
    parse_trace,
    start_trace,
)
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.ways import (
    Sources,
    Way,
    parse_pam_environment,
)

LIMIT = 120  # seconds: only a hang takes as long
VERSION = "570.133.20"
DRIVER = {"status": "ok", "version": VERSION, "flavor": "open"}
ONE = [{"index": 0, "mig": False}]


class Host:
    """Folders with libraries and a user's home; the lines of its files are given with ``@`` for the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        for name, library in (
            ("driver", f"libcuda.so.{VERSION}"),
            ("cuda/compat", "libcuda.so.550.54.15"),
            ("cuda/lib64/stubs", "libcuda.so"),
            ("old/compat", "libcuda.so.545.23.08"),
        ):
            (folder / name).mkdir(parents=True)
            (folder / name / library).touch()
            (folder / name / "libcuda.so.1").symlink_to(library)
        self.driver = {**DRIVER, "libcuda": str(folder / f"driver/libcuda.so.{VERSION}")}

    def write(self, name: str, text: str) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("@", str(self.folder)), encoding="utf-8")

    def ask(
        self, environ: dict[str, str], flags: str = "-ic", shell: str = "/bin/bash", more: dict[str, str] | None = None
    ) -> list[tuple[str, int | None, str]]:
        """File, line and text of each cause, of a way that ended with these variables."""
        environ = {name: value.replace("@", str(self.folder)) for name, value in environ.items()}
        start = {"HOME": str(self.home), "PATH": os.environ["PATH"], **(more or {})}
        way = Way("interactive", shell, (flags,), start, ())
        libraries = [f"{folder}/libcuda.so.1" for folder in environ.get("LD_LIBRARY_PATH", "").split(":")]
        libraries = [name for name in [*environ.get("LD_PRELOAD", "").split(), *libraries] if Path(name).exists()]
        found = str(Path(libraries[0]).resolve()) if libraries else self.driver["libcuda"]
        answer = answered(libcuda=found, environ=environ, code=803 if libraries else 100)
        causes = find_causes(Root(), [way], Sources({}, {}, {}), {"interactive": answer}, (self.driver, ONE), LIMIT)[
            "interactive"
        ]
        assert all(cause["value"] for cause in causes)
        return [(cause["file"].replace(f"{self.home}/", ""), cause["line"], cause["text"]) for cause in causes]


def answered(libcuda: str | None, environ: dict[str, str], code: int | None = 803, devices: int = 0) -> dict[str, Any]:
    version = Path(libcuda or "").name.partition("libcuda.so.")[2]
    stub = "/stubs/" in (libcuda or "")
    return {
        "libcuda": libcuda,
        "version": version if version.count(".") > 1 else None,
        "compat_active": "/compat/" in (libcuda or ""),
        "stub": stub,
        "init": None if code is None else {"code": code, "name": str(code)},
        "devices": devices,
        "environ": environ,
    }


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


COMPAT = {"LD_LIBRARY_PATH": "@/cuda/compat"}
FIRST = {"LD_LIBRARY_PATH": "@/cuda/compat:@/x"}
LAST = {"LD_LIBRARY_PATH": "@/x:@/cuda/compat"}


@pytest.mark.parametrize(
    ("lines", "environ", "named"),
    [
        pytest.param("export CUDA_HOME=@/cuda\nexport LD_LIBRARY_PATH=$CUDA_HOME/compat", COMPAT, [2], id="variable"),
        pytest.param("[ -d @/cuda/compat ] && export LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [1], id="and"),
        pytest.param(
            "if [ -d @/cuda/compat ]; then export LD_LIBRARY_PATH=@/cuda/compat; fi", COMPAT, [1], id="if-in-a-line"
        ),
        pytest.param("if true; then\n\n  export LD_LIBRARY_PATH=@/cuda/compat\nfi", COMPAT, [3], id="if"),
        pytest.param("export PATH=$PATH; export LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [1], id="two-commands"),
        pytest.param("export PATH=$PATH LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [1], id="two-in-one-command"),
        pytest.param('export LD_LIBRARY_PATH="@/cuda/compat":@/x', FIRST, [1], id="quoted-in-part"),
        pytest.param("export LD_LIBRARY_PATH=@/x\nLD_LIBRARY_PATH+=:@/cuda/compat", LAST, [2], id="added"),
        pytest.param("typeset -x LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [1], id="typeset"),
        pytest.param("declare -x LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [1], id="declare"),
        pytest.param("LD_LIBRARY_PATH=@/cuda/compat\nexport LD_LIBRARY_PATH", COMPAT, [1], id="exported-later"),
        pytest.param("f() {\n  export LD_LIBRARY_PATH=@/cuda/compat\n}\nf", COMPAT, [2], id="function"),
        pytest.param(
            'add() {\n  [ -n "$1" ] && export LD_LIBRARY_PATH=$1${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n}\n'
            "add @/x\nC=@/cuda\nadd $C/compat",
            FIRST,
            [6],
            id="argument-of-a-function",
        ),
        pytest.param("export \\\n  LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [2], id="over-two-lines"),
        pytest.param('eval "$(echo export LD_LIBRARY_PATH=@/cuda/compat)"', COMPAT, [1], id="eval"),
        pytest.param(
            "true\neval \"$(printf 'true\\ntrue\\nexport LD_LIBRARY_PATH=@/cuda/compat\\n')\"\n\ntrue",
            COMPAT,
            [2],
            id="eval-of-lines",
        ),
        pytest.param(
            "true\nsource <(printf 'true\\nexport LD_LIBRARY_PATH=@/cuda/compat\\n')",
            COMPAT,
            [2],
            id="a-programs-output",
        ),
        pytest.param("read -r LD_LIBRARY_PATH <<<@/cuda/compat\nexport LD_LIBRARY_PATH", COMPAT, [1], id="read"),
        pytest.param(
            "export LD_LIBRARY_PATH=@/cuda/compat\nexport LD_LIBRARY_PATH=@/x:$LD_LIBRARY_PATH",
            LAST,
            [1],
            id="kept-by-another",
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=@/cuda/compat\nexport LD_LIBRARY_PATH=@/cuda/compat:$LD_LIBRARY_PATH",
            {"LD_LIBRARY_PATH": "@/cuda/compat:@/cuda/compat"},
            [1, 2],
            id="twice",
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=@/cuda/compat\nexport LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [1, 2], id="set-again"
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=@/cuda/compat\nLD_LIBRARY_PATH=@/cuda/compat true", COMPAT, [1], id="one-command"
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=@/cuda/compat\nunset LD_LIBRARY_PATH\nexport LD_LIBRARY_PATH=@/cuda/compat",
            COMPAT,
            [3],
            id="taken-out-between",
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=@/old/compat:@/cuda/compat",
            {"LD_LIBRARY_PATH": "@/old/compat:@/cuda/compat"},
            [1],
            id="two-folders",
        ),
        pytest.param(
            "export LD_LIBRARY_PATH=@/cuda/compat\n(export LD_LIBRARY_PATH=@/x)\nX=$(LD_LIBRARY_PATH=; echo)",
            COMPAT,
            [1],
            id="subshells",
        ),
        pytest.param("exec 2>/dev/null\nexport LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [2], id="errors-nowhere"),
        pytest.param("set +x\n\nexport LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [3], id="trace-switched-off"),
        pytest.param(
            "case $- in *i*) ;; *) return ;; esac\nexport LD_LIBRARY_PATH=@/cuda/compat", COMPAT, [2], id="interactive"
        ),
        pytest.param("export CUDA_VISIBLE_DEVICES=none", {"CUDA_VISIBLE_DEVICES": "none"}, [1], id="devices"),
        pytest.param(
            "export CUDA_VISIBLE_DEVICES=1\nexport CUDA_VISIBLE_DEVICES=0,0",
            {"CUDA_VISIBLE_DEVICES": "0,0"},
            [2],
            id="devices-twice",
        ),
    ],
)
def test_bash_names_the_line(host: Host, lines: str, environ: dict[str, str], named: list[int]) -> None:
    host.write(".bashrc", f"{lines}\n")
    causes = host.ask(environ)
    assert [(file, line) for file, line, _text in causes] == [(".bashrc", line) for line in named]


@pytest.mark.parametrize(
    ("line", "environ"),
    [
        ("export LD_LIBRARY_PATH=$CUDA_HOME/compat:$LD_LIBRARY_PATH", "@/cuda/compat:"),
        (
            'export LD_LIBRARY_PATH="${CUDA_HOME}/lib64:${CUDA_HOME}/lib64/stubs:${LD_LIBRARY_PATH}"',
            "@/cuda/lib64:@/cuda/lib64/stubs:",
        ),
        ("[ -d @/cuda/compat ] && export LD_LIBRARY_PATH=@/cuda/compat:$LD_LIBRARY_PATH", "@/cuda/compat:"),
        ("if [ -d @/cuda/compat ]; then export LD_LIBRARY_PATH=@/cuda/compat:$LD_LIBRARY_PATH; fi", "@/cuda/compat:"),
        (
            "export PATH=@/cuda/bin:$PATH; export LD_LIBRARY_PATH=@/cuda/compat:$LD_LIBRARY_PATH",
            "@/cuda/compat:",
        ),
        ("export PATH=@/cuda/bin:$PATH LD_LIBRARY_PATH=@/cuda/compat:$LD_LIBRARY_PATH", "@/cuda/compat:"),
        ('export LD_LIBRARY_PATH="@/cuda/lib64":@/cuda/compat:$LD_LIBRARY_PATH', "@/cuda/lib64:@/cuda/compat:"),
        ("export LD_LIBRARY_PATH+=:@/cuda/compat", ":@/cuda/compat"),
        ("typeset -x LD_LIBRARY_PATH=@/cuda/compat", "@/cuda/compat"),
        ("export CUDA_VISIBLE_DEVICES=none", None),
    ],
)
def test_every_form_that_people_write(host: Host, line: str, environ: str | None) -> None:
    host.write(".bashrc", f"# CUDA\nexport CUDA_HOME=@/cuda\n{line}\nexport PATH\n")
    ended = {"CUDA_VISIBLE_DEVICES": "none"} if environ is None else {"LD_LIBRARY_PATH": environ}
    assert host.ask(ended) == [(".bashrc", 3, line.replace("@", str(host.folder)))]


def test_the_text_of_a_command_over_several_lines_names_the_variable(host: Host) -> None:
    host.write(".bashrc", "export A=1 \\\n  LD_LIBRARY_PATH=@/cuda/compat \\\n  B=2\n")
    assert [(line, text) for _file, line, text in host.ask(COMPAT)] == [
        (2, f"LD_LIBRARY_PATH={host.folder}/cuda/compat \\")
    ]


def test_a_preloaded_library_is_named(host: Host) -> None:
    """It is not loaded in the test: no program starts with a file that is empty."""
    suspects = [Suspect("LD_PRELOAD", "/opt/libcuda.so.1")]
    answer = answered("/opt/libcuda.so.1", {"LD_PRELOAD": "libjemalloc.so /opt/libcuda.so.1"})
    assert find_suspects(Root(), {**answer, "stub": True}, {}, host.driver, ONE) == suspects
    steps = [Step("/r", 1, (None, None, None), "a"), Step("/r", 2, (None, "/opt/libcuda.so.1", None), ":")]
    trace = Started(Way("login", "/bin/bash", ("-lc",), {"HOME": "/"}, ()), "bash", None, ())
    found = blame(Root(), suspects[0], trace, steps, {"LD_PRELOAD": "/opt/libcuda.so.1"}, Sources({}, {}, {}))
    assert [(row["file"], row["line"], row["value"]) for row in found] == [("/r", 1, "/opt/libcuda.so.1")]


def test_a_file_that_another_one_sources_is_named(host: Host) -> None:
    host.write(".bashrc", "# mine\n. ~/more/cuda.sh >/dev/null 2>&1\ntrue\n")
    host.write("more/cuda.sh", "\nexport LD_LIBRARY_PATH=@/cuda/compat\n")
    assert [(file, line) for file, line, _text in host.ask(COMPAT)] == [("more/cuda.sh", 2)]


def test_a_driver_folder_that_a_file_takes_away_is_named(host: Host) -> None:
    host.write(".bashrc", "true\nexport LD_LIBRARY_PATH=@/x\n")
    start = {"HOME": str(host.home), "PATH": os.environ["PATH"], "LD_LIBRARY_PATH": f"{host.folder}/driver"}
    way = Way("interactive", "/bin/bash", ("-ic",), start, ())
    answer = answered(None, {"LD_LIBRARY_PATH": f"{host.folder}/x"}, None)
    causes = find_causes(Root(), [way], Sources({}, {}, {}), {"interactive": answer}, (host.driver, ONE), LIMIT)
    assert [(cause["line"], cause["text"]) for cause in causes["interactive"]] == [
        (2, f"export LD_LIBRARY_PATH={host.folder}/x")
    ]


@pytest.mark.parametrize(
    ("flags", "names", "read"),
    [
        pytest.param("-lc", [".profile", ".bash_profile", ".bashrc"], [".bash_profile"], id="login"),
        pytest.param("-lc", [".profile", ".bashrc"], [".profile"], id="login-by-profile"),
        pytest.param("-ic", [".profile", ".bashrc"], [".bashrc"], id="interactive"),
        pytest.param("-c", [".profile", ".bashrc"], [], id="command"),
    ],
)
def test_bash_reads_the_files_of_its_manual(host: Host, flags: str, names: list[str], read: list[str]) -> None:
    for name in names:
        host.write(name, "")
    way = Way("x", "/bin/bash", (flags,), {"HOME": str(host.home)}, ())
    own = [file for file in list_bash_files(Root(), way) if file.startswith(str(host.home))]
    assert own == [f"{host.home}/{name}" for name in read]


def test_the_bash_of_an_ssh_command_reads_bashrc_where_it_was_built_to(host: Host) -> None:
    host.write(".bashrc", "")
    program = Path("/bin/bash").read_bytes()
    way = Way("x", "/bin/bash", ("-c",), {"HOME": str(host.home), "SSH_CLIENT": "1 2 3"}, ())
    assert (f"{host.home}/.bashrc" in list_bash_files(Root(), way)) == (b"\0SSH_CLIENT\0" in program)


def test_a_script_of_bash_reads_bash_env(host: Host) -> None:
    host.write("env.sh", "export LD_LIBRARY_PATH=@/cuda/compat\n")
    causes = host.ask(COMPAT, flags="-c", more={"BASH_ENV": f"{host.home}/env.sh"})
    assert [(file, line) for file, line, _text in causes] == [("env.sh", 1)]


@pytest.mark.parametrize(
    "line",
    [
        "eval \"$(printf 'true\\ntrue\\nexport LD_LIBRARY_PATH=@/cuda/compat\\n')\"\n\n\n# the fourth",
        "source <(printf 'true\\nexport LD_LIBRARY_PATH=@/cuda/compat\\n')",
    ],
)
@pytest.mark.parametrize("shell", [path for path in map(shutil.which, ("bash", "zsh")) if path])
def test_what_a_program_printed_is_its_callers(host: Host, shell: str, line: str) -> None:
    name = f".{Path(shell).name}rc"
    host.write(name, f"true\n{line}\n")
    assert [(file, line) for file, line, _text in host.ask(COMPAT, "-ic", shell)] == [(name, 2)]


@pytest.mark.parametrize("shell", [path for path in map(shutil.which, ("sh", "dash", "zsh")) if path])
def test_other_shells_name_the_line(host: Host, shell: str) -> None:
    """A dash tells no file of its trace: those that it sourced are searched."""
    first = ".zshrc" if Path(shell).name == "zsh" else ".profile"
    host.write(first, "export LD_LIBRARY_PATH=@/x\n. ~/cuda.sh\n")
    host.write("cuda.sh", "# export LD_LIBRARY_PATH=@/cuda/compat\n[ -d / ] && export LD_LIBRARY_PATH=@/cuda/compat\n")
    causes = host.ask(COMPAT, "-ic" if first == ".zshrc" else "-lc", shell)
    assert [(file, line) for file, line, _text in causes] == [("cuda.sh", 2)]


def test_the_files_of_a_fish_are_searched(host: Host) -> None:
    fish = host.folder / "fish"
    fish.touch()
    host.write(
        ".config/fish/config.fish", "# set -gx LD_LIBRARY_PATH @/cuda/compat\nset -gx LD_LIBRARY_PATH @/cuda/compat\n"
    )
    causes = host.ask(COMPAT, "-ic", str(fish))
    assert [(file, line) for file, line, _text in causes] == [(".config/fish/config.fish", 2)]


def step(file: str, line: int, value: str | None, command: str = ":") -> str:
    values = SEP.join(UNSET if one is None else one for one in (value, None, None))
    return f"{BEGIN}{file}{SEP}{line}{SEP}0{SEP}{values}{SEP}{command}\n"


def test_a_trace_is_read() -> None:
    text = "Welcome\n" + step("/a", 3, None, "export X=1") + "noise\n" + BEGIN + step("/b", 4, "/x:/y")
    text += f"{BEGIN}/c{SEP}5{SEP}1{SEP}in a subshell{SEP}{SEP}{SEP}:\n{BEGIN}torn"
    assert parse_trace(text) == [
        Step("/a", 3, (None, None, None), "export X=1"),
        Step("/b", 4, ("/x:/y", None, None), ":", depth=2),
    ]
    assert len(CUDA_VARIABLES) == 3


def test_where_the_trace_ended_otherwise_the_files_are_searched(tmp_path: Path) -> None:
    (tmp_path / "rc").write_text("export LD_LIBRARY_PATH=/c/compat\nexport LD_LIBRARY_PATH=/other\n", encoding="utf-8")
    way = Way("interactive", "/bin/bash", ("-ic",), {"HOME": "/"}, ())
    trace = Started(way, "bash", None, (f"{tmp_path}/rc",))
    steps = parse_trace(step("/elsewhere", 1, None) + step("/elsewhere", 2, "/other"))
    suspect = Suspect("LD_LIBRARY_PATH", "/c/compat")
    found = blame(Root(), suspect, trace, steps, {"LD_LIBRARY_PATH": "/c/compat"}, Sources({}, {}, {}))
    assert [(row["file"], row["line"]) for row in found] == [(f"{tmp_path}/rc", 1)]


@pytest.mark.parametrize(
    ("files", "image", "cause"),
    [
        pytest.param(
            {"etc/environment": "PATH=/bin\nLD_LIBRARY_PATH=/c/compat\n"},
            {},
            ("/etc/environment", 2, "LD_LIBRARY_PATH=/c/compat"),
            id="pam",
        ),
        pytest.param(
            {}, {"LD_LIBRARY_PATH": "/c/compat"}, ("/proc/1/environ", None, "LD_LIBRARY_PATH=/c/compat"), id="image"
        ),
    ],
)
def test_what_no_shell_has_set_is_named_too(
    tmp_path: Path, files: dict[str, str], image: dict[str, str], cause: tuple[str, int | None, str]
) -> None:
    for name in ("c/compat/libcuda.so.1", *files):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(files.get(name, ""), encoding="utf-8")
    sources = Sources({}, image, parse_pam_environment(files.get("etc/environment", "")))
    environ = {"LD_LIBRARY_PATH": "/c/compat"}
    way = Way("service", None, (), environ, ())
    answer = answered("/c/compat/libcuda.so.1", environ)
    driver = {**DRIVER, "libcuda": f"/driver/libcuda.so.{VERSION}"}
    causes = find_causes(Root(str(tmp_path)), [way], sources, {"service": answer}, (driver, ONE), LIMIT)["service"]
    assert [(row["file"], row["line"], row["text"]) for row in causes] == [cause]


def test_a_way_that_answers_well_is_not_asked_again(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way("login", "/bin/bash", ("-lc",), {"HOME": str(host.home)}, ())
    answer = answered(host.driver["libcuda"], {"CUDA_VISIBLE_DEVICES": "0"}, 0, 1)
    monkeypatch.delattr("os.fork")
    assert find_causes(Root(), [way], Sources({}, {}, {}), {"login": answer}, (host.driver, ONE), LIMIT) == {}


def test_a_way_that_no_variable_explains_is_not_traced(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way("login", "/bin/bash", ("-lc",), {"HOME": str(host.home)}, ())
    answer = answered(host.driver["libcuda"], {"LD_LIBRARY_PATH": "/x"}, 999)
    monkeypatch.delattr("os.fork")
    found = find_causes(Root(), [way], Sources({}, {}, {}), {"login": answer}, (host.driver, ONE), LIMIT)
    assert found == {"login": []}


@pytest.mark.parametrize(
    ("answer", "suspects"),
    [
        pytest.param(
            ("@/cuda/compat/libcuda.so.550.54.15", "@/cuda/compat:@/driver:@/old/compat", 803),
            ["@/cuda/compat"],
            id="behind-the-drivers",
        ),
        pytest.param(
            ("@/cuda/compat/libcuda.so.550.54.15", "@/cuda/compat:@/old/compat", 803),
            ["@/cuda/compat", "@/old/compat"],
            id="all-that-are-wrong",
        ),
        pytest.param(("@/driver/libcuda.so.570.133.20", "@/driver:@/cuda/compat", 999), [], id="the-drivers-own"),
        pytest.param(("@/cuda/compat/libcuda.so.550.54.15", "@/x", 803), [], id="the-loaders-configuration"),
        pytest.param(("@/cuda/lib64/stubs/libcuda.so", "@/cuda/lib64/stubs", 34), ["@/cuda/lib64/stubs"], id="stub"),
    ],
)
def test_suspects(host: Host, answer: tuple[str, str, int], suspects: list[str]) -> None:
    at = str(host.folder)
    found = answered(answer[0].replace("@", at), {"LD_LIBRARY_PATH": answer[1].replace("@", at)}, answer[2])
    assert find_suspects(Root(), found, {}, host.driver, ONE) == [
        Suspect("LD_LIBRARY_PATH", entry.replace("@", at)) for entry in suspects
    ]


def test_a_trace_that_hangs_ends_at_the_limit(host: Host) -> None:
    host.write(".bashrc", "export LD_LIBRARY_PATH=@/cuda/compat\nsleep 600\n")
    way = Way("interactive", "/bin/bash", ("-ic",), {"HOME": str(host.home), "PATH": os.environ["PATH"]}, ())
    trace = start_trace(Root(), way, 0.5)
    assert trace.child
    assert trace.child.result().code is None
