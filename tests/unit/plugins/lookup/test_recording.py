# Copyright (c) 2026, Podsmith developers
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.podsmith.gpu.plugins.lookup.recording import LookupModule, read_recording

FIXTURES = Path(__file__).parents[3] / "fixtures"


NO_RECORDING = {"benchmarks", "pytorch-builds", "texts"}


@pytest.mark.parametrize(
    "recording", sorted(path.name for path in FIXTURES.iterdir() if path.is_dir() and path.name not in NO_RECORDING)
)
def test_every_recording_is_read(recording: str) -> None:
    facts = read_recording(recording, FIXTURES)
    assert facts["driver"]["version"]
    assert facts["devices"][0]["name"]


def test_the_lookup_gives_one_result_for_each_term(tmp_path: Path) -> None:
    file = tmp_path / "pod.json"
    file.write_text(json.dumps({"ansible_facts": {"gpu": {"driver": {"status": "missing"}}}}), encoding="utf-8")
    first, second = LookupModule().run(["pod.json", str(FIXTURES / "h200-driver-580")], {"playbook_dir": str(tmp_path)})
    assert (first, second["driver"]["branch"]) == ({"driver": {"status": "missing"}}, 580)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(
            lambda path: None, "does not exist; expected a folder of recorded texts or a JSON file", id="absent"
        ),
        pytest.param(
            lambda path: path.mkdir(),
            r"has none of gpu\.json, nvidia-smi-q\.xml.*; record at least one of them",
            id="empty",
        ),
        pytest.param(lambda path: path.write_text("{"), r"cannot be read: .*not JSON.*; record it again", id="cut-off"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe"), "cannot be read: 'utf-8' codec", id="not-text"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, make: object, words: str) -> None:
    assert callable(make)
    make(tmp_path / "pod")
    with pytest.raises(AnsibleLookupError, match=words):
        read_recording("pod", tmp_path)
