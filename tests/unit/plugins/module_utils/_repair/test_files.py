"""A file without the settings: the right line alone, still read by its shell; and files that are left alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._host.names import BEGIN, END
from ansible_collections.podsmith.gpu.plugins.module_utils._host.root import Root
from ansible_collections.podsmith.gpu.plugins.module_utils._repair.files import (
    LIMIT,
    Repair,
    free_backup,
    repair_text,
    why_not_touch,
)

COMPAT, NAME = "/usr/local/cuda/compat", "LD_LIBRARY_PATH"
LINE = f"export LD_LIBRARY_PATH={COMPAT}"


def repair(number: int, line: str = LINE, path: str = "/root/.bashrc", name: str = NAME, *values: str) -> Repair:
    return Repair(path, line, number, name, values or (COMPAT,))


def parses(text: str) -> bool:
    bash = shutil.which("bash")
    assert bash
    return subprocess.run([bash, "-n"], input=text, text=True, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("before", "number", "after"),
    [
        pytest.param(f"a=1\n{LINE}\nb=2\n", 2, "a=1\nb=2\n", id="alone"),
        pytest.param(f"a=1\n{LINE}", 2, "a=1\n", id="last-line-without-an-end"),
        pytest.param(f"{LINE}\n{LINE}\n", 2, f"{LINE}\n", id="the-second-of-two-alike"),
        pytest.param(f"a=1\r\n{LINE}\r\nb=2\r\n", 2, "a=1\r\nb=2\r\n", id="lines-of-windows"),
        pytest.param(f"if true; then\n  {LINE}\nfi\n", 2, "if true; then\n  :\nfi\n", id="the-only-command-of-an-if"),
        pytest.param(
            f"if true; then\n  # why\n  {LINE}\n\nelse\n  a=1\nfi\n",
            3,
            "if true; then\n  # why\n  :\n\nelse\n  a=1\nfi\n",
            id="comments-are-no-commands",
        ),
        pytest.param(
            f"if true; then\n  a=1\n  {LINE}\nfi\n", 3, "if true; then\n  a=1\nfi\n", id="one-of-two-in-an-if"
        ),
        pytest.param(f"f() {{\n  {LINE}\n}}\n", 2, "f() {\n  :\n}\n", id="the-only-command-of-a-function"),
        pytest.param(f"[ -d /x ] &&\n  {LINE}\nb=2\n", 2, "[ -d /x ] &&\n  :\nb=2\n", id="after-and"),
        pytest.param(
            f"export A=1 \\\n  LD_LIBRARY_PATH={COMPAT}\nb=2\n", 2, "export A=1 \\\n\nb=2\n", id="the-end-of-a-command"
        ),
        pytest.param(
            f"export A=1 \\\n  LD_LIBRARY_PATH={COMPAT} \\\n  B=2\n",
            2,
            "export A=1 \\\n   \\\n  B=2\n",
            id="the-middle",
        ),
    ],
)
def test_the_right_line_goes_and_the_shell_still_reads_the_file(before: str, number: int, after: str) -> None:
    line = before.splitlines()[number - 1]
    text, made, left = repair_text(before, [repair(number, line)], parses)
    assert (text, len(made), left) == (after, 1, [])
    assert parses(text)


def test_lines_keep_their_numbers_while_others_go() -> None:
    before = f"{LINE}\na=1\n{LINE}:/b\n{LINE}\n"
    repairs = [repair(1), repair(3, f"{LINE}:/b"), repair(4)]
    text, made, left = repair_text(before, repairs, parses)
    assert (text, made, left) == ("a=1\nexport LD_LIBRARY_PATH=/b\n", repairs, [])


def test_two_settings_of_one_line() -> None:
    line = f"export LD_LIBRARY_PATH={COMPAT} CUDA_VISIBLE_DEVICES=0,0 A=1"
    repairs = [repair(1, line), repair(1, line, "/root/.bashrc", "CUDA_VISIBLE_DEVICES", "0,0")]
    text, made, left = repair_text(f"{line}\n", repairs, parses)
    assert (text, len(made), left) == ("export A=1\n", 2, [])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param(f"# new\n{LINE}\n", 1, id="moved"),
        pytest.param(f"{LINE}:/b\n", 1, id="edited"),
        pytest.param("", 1, id="gone"),
        pytest.param(f"{LINE}\n", 0, id="no-number"),
        pytest.param(f"{BEGIN}\n{LINE}\n{END}\n", 2, id="in-our-block"),
    ],
)
def test_a_line_that_is_no_longer_what_was_planned_is_left_and_told(text: str, number: int) -> None:
    after, made, (left,) = repair_text(text, [repair(number)], parses)
    assert (after, made, left.is_gone) == (text, [], True)
    assert left.because == f"line {number} is no longer: {LINE}"


def test_a_setting_that_cannot_be_taken_out_by_itself_is_left_and_told() -> None:
    line = f"for d in {COMPAT} /b; do export LD_LIBRARY_PATH=$d:$LD_LIBRARY_PATH; done"
    after, made, (left,) = repair_text(f"{line}\n", [repair(1, line)], parses)
    assert (after, made, left.is_gone) == (f"{line}\n", [], False)
    assert left.because == "it cannot be removed from that line without changing what else the line does"


def test_a_file_that_the_shell_could_not_read_afterwards_is_not_written() -> None:
    after, made, (left,) = repair_text(f"{LINE}\n", [repair(1)], lambda text: LINE in text)
    assert (after, made, left.is_gone) == (f"{LINE}\n", [], False)
    unread, made, none = repair_text(f"{LINE}\n", [repair(1)], lambda _text: False)
    assert (unread, len(made), none) == ("", 1, []), "a file that was broken before is not kept for that"


def test_bytes_that_are_no_utf8_are_compared_as_they_were_told() -> None:
    raw = f"{LINE} # caf\xe9".encode("latin-1")
    told, here = raw.decode("utf-8", "replace"), raw.decode("utf-8", "surrogateescape")
    assert repair_text(f"{here}\na=1\n", [repair(1, told)], parses)[0] == "a=1\n"


def test_another_shells_file_is_not_read_by_bash() -> None:
    text, made, _left = repair_text(
        f"if ( $?X ) then\n  setenv LD_LIBRARY_PATH {COMPAT}\nendif\n",
        [repair(2, f"setenv LD_LIBRARY_PATH {COMPAT}", "/root/.cshrc")],
        lambda _text: pytest.fail("bash cannot tell"),
    )
    assert (text, len(made)) == ("if ( $?X ) then\nendif\n", 1)


def test_a_line_of_the_loaders_configuration() -> None:
    path = "/etc/ld.so.conf.d/000_cuda.conf"
    text, made, _left = repair_text(f"/a\n{COMPAT}\n", [repair(2, COMPAT, path, "")], parses)
    assert (text, len(made)) == ("/a\n", 1)


# --- files that are left alone ---


def test_which_files_are_touched(tmp_path: Path) -> None:
    root, home = Root(str(tmp_path)), "/home/ada"
    (tmp_path / "home/ada/dotfiles").mkdir(parents=True)
    (tmp_path / "etc/ld.so.conf.d").mkdir(parents=True)
    (tmp_path / "srv").mkdir()
    for name in ("home/ada/.bashrc", "home/ada/dotfiles/profile", "srv/shared", "etc/environment"):
        (tmp_path / name).write_text("a=1\n")
    (tmp_path / "home/ada/.profile").symlink_to("dotfiles/profile")
    (tmp_path / "home/ada/.zshrc").symlink_to("/srv/shared")
    (tmp_path / "etc/ld.so.conf.d/x.conf").symlink_to("/srv/shared")
    (tmp_path / "srv/link").symlink_to("/etc/environment")
    (tmp_path / "home/ada/.bash_profile").mkdir()
    os.mkfifo(tmp_path / "home/ada/fifo")
    (tmp_path / "home/ada/large").write_bytes(b"\n" * (LIMIT + 1))
    found = {
        path: why_not_touch(root, path, home)
        for path in (
            "/home/ada/.bashrc",
            "/home/ada/.profile",
            "/etc/environment",
            "/srv/shared",
            "/home/ada/.zshrc",
            "/etc/ld.so.conf.d/x.conf",
            "/srv/link",
            "/home/ada/.bash_profile",
            "/home/ada/fifo",
            "/home/ada/large",
            "/home/ada/absent",
        )
    }
    assert found == {
        "/home/ada/.bashrc": None,
        "/home/ada/.profile": None,
        "/etc/environment": None,
        "/srv/shared": None,
        "/home/ada/.zshrc": "it is a link to /srv/shared, outside /home/ada",
        "/etc/ld.so.conf.d/x.conf": "it is a link to /srv/shared, outside /etc",
        "/srv/link": "it is a link to /etc/environment, outside /srv",
        "/home/ada/.bash_profile": "it is not a regular file",
        "/home/ada/fifo": "it is not a regular file",
        "/home/ada/large": f"it has {LIMIT + 1} bytes, more than a start-up file has",
        "/home/ada/absent": "it cannot be read (No such file or directory)",
    }


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profile").write_text("a=1\n")
    owner = (tmp_path / "profile").stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 4711)
    because = why_not_touch(Root(str(tmp_path)), "/profile", "/root")
    assert because is not None
    assert because.startswith("it belongs to ")
    assert because.endswith(f"and this runs as user {owner + 4711}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert why_not_touch(Root(str(tmp_path)), "/profile", "/root") is None


def test_a_comment_does_not_go_on_behind_a_backslash() -> None:
    """The word that is left of a command would be one of its own, and print every variable at each start."""
    text, made, _left = repair_text(f"# on several lines \\\n{LINE}\na=1\n", [repair(2)], parses)
    assert (text, len(made)) == ("# on several lines \\\na=1\n", 1)


def test_no_copy_is_written_over_another(tmp_path: Path) -> None:
    file = tmp_path / ".bashrc"
    first = free_backup(file, "one")
    assert first == tmp_path / ".bashrc.podsmith-backup"
    first.write_text("one")
    assert free_backup(file, "one") is None
    second = free_backup(file, "two")
    assert second == tmp_path / ".bashrc.podsmith-backup.1"
    second.write_text("two")
    assert (free_backup(file, "one"), free_backup(file, "two")) == (None, None)
