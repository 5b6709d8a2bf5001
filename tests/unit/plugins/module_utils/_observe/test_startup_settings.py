# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What start-up files set, by which form of line and in which file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._observe.startup_settings import (
    SOURCED_DEPTH,
    SOURCED_LIMIT,
    Setting,
    SettingsReader,
    expand,
    find_settings,
    split_folders,
)

C = "/usr/local/cuda/compat"
P = "LD_LIBRARY_PATH"


def read_settings(text: str, file: str) -> list[Setting]:
    """What one file sets; what it sources is left out."""
    reader = SettingsReader(lambda _path: "", lambda _pattern: (), {})
    reader.read(file, text)
    return reader.settings


def values(text: str, file: str = "/root/.bashrc") -> list[tuple[int, str]]:
    return [(row.line, row.value) for row in read_settings(text, file) if row.name != "CUDA_HOME"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(f"{P}={C}; export {P}", [(1, C)], id="exported-later"),
        pytest.param(f"export A=b {P}={C} D=e", [(1, C)], id="one-of-three"),
        pytest.param(f"A=b {P}={C}", [(1, C)], id="assignments-alone"),
        pytest.param(f"A=b; {P}={C} ;", [(1, C)], id="behind-a-semicolon"),
        pytest.param(f"\n\n  declare -gx {P}={C}", [(3, C)], id="declare"),
        pytest.param(f"typeset -x {P}={C}\nreadonly -x {P}={C}", [(1, C), (2, C)], id="typeset-and-readonly"),
        pytest.param(f"command export {P}={C}\n\\export {P}={C}", [(1, C), (2, C)], id="past-an-alias"),
        pytest.param(f'export "{P}={C}"', [(1, C)], id="quoted-whole"),
        pytest.param(f"export {P}='/a b'\"/c\":{C}", [(1, f"/a b/c:{C}")], id="quotes-joined"),
        pytest.param(f"export {P}+=:{C}", [(1, f":{C}")], id="appended"),
        pytest.param(f"export {P}=\\\n{C}:\\\n/b", [(1, f"{C}:/b")], id="continued-lines"),
        pytest.param(f"export A=b \\\n  {P}={C}", [(2, C)], id="on-the-second-line"),
        pytest.param(f"[ -d {C} ] && export {P}={C}", [(1, C)], id="behind-a-test"),
        pytest.param(f"test -d {C} || {{ export {P}={C}; }}", [(1, C)], id="in-braces"),
        pytest.param(f"if [ -d {C} ]\nthen\n  export {P}={C}\nfi", [(3, C)], id="if-over-lines"),
        pytest.param(f"case $HOSTNAME in\n gpu*) export {P}={C};;\nesac", [(2, C)], id="case"),
        pytest.param(f"for d in {C} /b; do {P}=$d:${P}; done", [(1, f"{C}:/b:${P}")], id="for"),
        pytest.param(f"f() {{ export {P}={C}; }}\nf", [(1, C)], id="function-that-is-called"),
        pytest.param(f'eval "export {P}={C}"', [(1, C)], id="eval"),
        pytest.param(f"D=/opt/cuda\nexport {P}=$D/compat", [(2, "/opt/cuda/compat")], id="from-an-earlier-line"),
        pytest.param(f"D=/a\nD+=/b\n{P}=$D/c", [(3, "/a/b/c")], id="from-an-appended-one"),
        pytest.param(f"{P}=${{D:-/a}}/compat:${{E-/b}}", [(1, "/a/compat:/b")], id="defaults"),
        pytest.param(f"{P}=$D/compat", [(1, "$D/compat")], id="from-an-unknown-one"),
        pytest.param("LD_PRELOAD=/a/libcuda.so.1", [(1, "/a/libcuda.so.1")], id="preload"),
        # --- none of these lasts ---
        pytest.param(f"{P}={C} python train.py", [], id="of-one-command"),
        pytest.param(f"X=1 {P}={C} python train.py", [], id="of-one-command-with-others"),
        pytest.param(f"env {P}={C} python train.py", [], id="env"),
        pytest.param(f"exec env A=b LD_PRELOAD={C}/libcuda.so.1 bash", [], id="exec-env"),
        pytest.param(f"alias p='{P}={C} python'", [], id="alias"),
        pytest.param(f"f() {{ export {P}={C}; }}", [], id="function-that-is-not-called"),
        pytest.param(f"( export {P}={C}; python )", [], id="subshell"),
        pytest.param(f"A=$(export {P}={C}; python)", [], id="substitution"),
        pytest.param(f"# export {P}={C}\n: # export {P}={C}", [], id="comments"),
        pytest.param(f"cat > x <<E\nexport {P}={C}\nE", [], id="here-document"),
        pytest.param(f'echo "\nexport {P}={C}\n"', [], id="quoted"),
        pytest.param(f"echo export {P}={C}", [], id="told"),
        pytest.param(f"export -n {P}={C}", [], id="not-exported"),
        pytest.param(f"export {P}={C}\nunset {P}", [], id="unset"),
        pytest.param(f"export {P}={C}\nexport -n {P}", [], id="taken-from-programs"),
        pytest.param(f"export MY_{P}={C} {P}_OLD={C}", [], id="other-names"),
        pytest.param(f"export {P}", [], id="no-value"),
        pytest.param(f"setenv {P} {C}", [], id="csh-in-bash"),
        # --- and these do ---
        pytest.param(f"export {P}={C}\n[ x ] && unset {P}", [(1, C)], id="unset-in-a-branch"),
        pytest.param(f"export {P}={C}\nreturn\nunset {P}", [(1, C)], id="unset-behind-a-return"),
        pytest.param(f"unset {P}\nexport {P}={C}", [(2, C)], id="unset-before"),
    ],
)
def test_a_line_of_a_shell(text: str, expected: list[tuple[int, str]]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("/root/.cshrc", f"setenv {P} {C}:${P}", [(1, f"{C}:${P}")]),
        ("/etc/profile.d/x.csh", f"if ($?{P}) then\n  setenv {P} {C}\nendif", [(2, C)]),
        ("/root/.tcshrc", f"set d = /opt\nsetenv {P} $d/compat\nunsetenv {P}", []),
        ("/root/.login", "setenv CUDA_VISIBLE_DEVICES", [(1, "")]),
        ("/root/.config/fish/config.fish", f"set -gx {P} {C} ${P}", [(1, f"{C}:${P}")]),
        ("/etc/fish/conf.d/x.fish", f"if test -d {C}\n  set --export {P} {C}\nend", [(2, C)]),
        (
            "/root/.config/fish/config.fish",
            "set -x CUDA_VISIBLE_DEVICES 0,0; and set -x LD_PRELOAD /a",
            [(1, "0,0"), (1, "/a")],
        ),
        ("/root/.config/fish/config.fish", f"set -x {P} {C}\nset -e {P}\nset -q {P}", []),
        ("/root/.config/fish/config.fish", f"export {P}={C}", [(1, C)]),
        ("/etc/environment", f'{P}="{C}"', [(1, C)]),
        ("/etc/environment", f"export {P}={C} # x\n#{P}=/b", [(1, C)]),
        ("/etc/environment", "CUDA_VISIBLE_DEVICES=\nA=b", [(1, "")]),
        ("/root/.pam_environment", f"{P} DEFAULT=/a OVERRIDE={C}", [(1, C)]),
        ("/etc/security/pam_env.conf", f'# {P} DEFAULT=/a\n{P} DEFAULT="{C}"', [(2, C)]),
    ],
)
def test_a_line_of_another_file(file: str, text: str, expected: list[tuple[int, str]]) -> None:
    assert values(text, file) == expected


def test_a_setting_has_its_line_as_it_stands() -> None:
    text = f'# BEGIN podsmith.gpu\n. /x\n# END podsmith.gpu\nD=/opt\n\texport {P}="$D/compat"  # mine\n'
    assert read_settings(text, "/root/.bashrc") == [
        Setting("/root/.bashrc", 5, f'export {P}="$D/compat"  # mine', P, "$D/compat", "/opt/compat")
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$A/b", "/a/b"),
        ("${A}b$B", "/ab$B"),
        ('${B:-$A}/${B-"c d"}/${B:=e}', "/a/c d/e"),
        ("${A:-x}${A+y}${B:+z$A}", "/ayz/a"),
        ("${A%/*}/$1/$(x $A)", "${A%/*}/$1/$(x /a)"),
    ],
)
def test_variables_are_put_in(value: str, expected: str) -> None:
    assert expand(value, {"A": "/a"}) == expected


def test_a_value_that_doubles_with_each_line_stays_small() -> None:
    text = "A=1234567890\n" + "A=$A$A\n" * 500 + f"export {P}=$A/compat\n"
    assert len(values(text)[0][1]) < 5000


@pytest.mark.parametrize(
    ("value", "folders"),
    [
        ("/a:/b", ["/a", "/b"]),
        (f"/a:${P}:${{{P}}}:${{{P}%:}}", ["/a"]),
        ("/a;:$X/c", ["/a", "$X/c"]),
        ("", []),
    ],
)
def test_folders_of_a_value(value: str, folders: list[str]) -> None:
    assert split_folders(value) == folders


def test_what_no_shell_puts_in_is_no_folder() -> None:
    (setting,) = read_settings(f"export {P}='$CUDA_HOME/compat':/b", "/root/.bashrc")
    assert split_folders(setting.value) == ["/b"]
    (setting,) = read_settings(f"{P}=$CUDA_HOME/compat:/b", "/etc/environment")
    assert split_folders(setting.value) == ["/b"]


# --- files that source others ---


def found(folder: Path, files: dict[str, str], starts: list[str], skipped: tuple[str, ...] = ()) -> list[str]:
    for name, text in files.items():
        path = folder / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = find_settings(Root(str(folder)), starts, "/root", skipped)
    return [f"{row.file}:{row.line} {row.value}" for row in settings]


@pytest.mark.parametrize(
    "line",
    [
        ". ~/.cuda_env",
        "source $HOME/.cuda_env",
        '[ -f "${HOME}/.cuda_env" ] && \\. "${HOME}/.cuda_env"',
        "if [ -r ~/.cuda_env ]; then\n  . ~/.cuda_env\nfi",
        "source .cuda_env",
        "D=$HOME; . $D/.cuda_env",
        'for f in ~/.cuda_*; do . "$f"; done # LD_LIBRARY_PATH',
        "export BASH_ENV=~/.cuda_env",
    ],
)
def test_a_sourced_file_is_read(tmp_path: Path, line: str) -> None:
    files = {"/root/.bashrc": f"{line}\n", "/root/.cuda_env": f"export {P}={C}\n"}
    assert found(tmp_path, files, ["/root/.bashrc"]) == [f"/root/.cuda_env:1 {C}"]


@pytest.mark.parametrize(
    "line",
    ["# . ~/.cuda_env", "echo '. ~/.cuda_env # LD_LIBRARY_PATH'", "(. ~/.cuda_env; echo $LD_LIBRARY_PATH)"],
)
def test_a_file_that_nothing_sources_is_not_read(tmp_path: Path, line: str) -> None:
    files = {"/root/.bashrc": f"{line}\n", "/root/.cuda_env": f"export {P}={C}\n"}
    assert found(tmp_path, files, ["/root/.bashrc"]) == []


def test_a_sourced_file_knows_what_was_set(tmp_path: Path) -> None:
    files = {
        "/etc/environment": "CUDA_HOME=/opt/cuda\n",
        "/root/.bashrc": f". ~/.vars\nexport {P}=$LIBS:$CUDA_HOME/compat\n",
        "/root/.vars": "LIBS=/a/compat\n",
    }
    starts = ["/etc/environment", "/root/.bashrc"]
    assert found(tmp_path, files, starts) == [
        "/etc/environment:1 /opt/cuda",
        "/root/.bashrc:2 /a/compat:/opt/cuda/compat",
    ]


def test_each_file_is_read_once(tmp_path: Path) -> None:
    files = {
        "/etc/profile": 'for i in /etc/profile.d/*.sh; do [ -r "$i" ] && . "$i"; done # CUDA_HOME\n. /etc/profile\n',
        "/etc/profile.d/a.sh": f"export {P}=/a\n. /etc/profile\n",
    }
    assert found(tmp_path, files, ["/etc/profile", "/etc/profile.d/a.sh"]) == ["/etc/profile.d/a.sh:1 /a"]


def test_reading_has_its_bounds(tmp_path: Path) -> None:
    line = f"export {P}={C}\n"
    files = {
        "/root/.bashrc": ". /srv/0\n. /usr/share/x\n. /srv/large\n. /srv/ours\n. /etc/profile.d/podsmith.sh\n",
        "/usr/share/x": line,
        "/srv/large": line + "#" * SOURCED_LIMIT,
        "/srv/ours": f"# Written by podsmith.gpu; edits are overwritten.\n{line}",
        "/etc/profile.d/podsmith.sh": line,
        **{f"/srv/{number}": f". /srv/{number + 1}\n{line}" for number in range(10)},
    }
    rows = found(tmp_path, files, ["/root/.bashrc"], ("/etc/profile.d/podsmith.sh",))
    assert rows == [f"/srv/{number}:2 {C}" for number in reversed(range(SOURCED_DEPTH))]
