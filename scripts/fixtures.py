# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn a recording of ``scripts/record.sh`` into a test's fixture and a simulated pod.

It becomes ``tests/fixtures/<name>/``, with what a simulated pod of that host reads as ``simulated-driver.conf``, and
``tests/fixtures/<name>-facts.json``, what ``podsmith.gpu.gpu_facts`` reports for it. Review them before you commit.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / ".ansible" / "collections"))

from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.errors import RecordingError
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.recording import ROOT
from ansible_collections.podsmith.gpu.plugins.plugin_utils._recording.root import observe_recording

FIXTURES = REPOSITORY / "tests" / "fixtures"
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


class FixtureError(Exception):
    """The recording cannot become a fixture; its message says why and what to do."""


def render_driver(facts: Mapping[str, Any]) -> str | None:
    """``/etc/simulated-driver.conf`` of a pod like this host; None for one without a driver.

    ``fault`` is ``absent`` where there is a driver and no GPU. Raises FixtureError where a GPU tells too little.
    """
    driver = facts["driver"]
    if not driver["version"]:
        return None
    lines = [
        f"driver {driver['version']}",
        f"cuda {_known(driver['cuda'], 'the CUDA level of the driver')}",
        f"flavor {'open' if driver['flavor'] == 'open' else 'proprietary'}",
        f"wsl2 {'yes' if facts['platform']['kind'] == 'wsl2' else 'no'}",
        f"fault {'none' if facts['devices'] else 'absent'}",
    ]
    for device in facts["devices"]:
        place = f"of GPU {device['index']}"
        values = [_known(device[key], f"the {key} {place}") for key in ("compute_capability", "brand_id", "memory_mib")]
        lines.append(" ".join(["gpu", *map(str, values), str(int(bool(device["mig"]))), str(device["name"])]))
    return "\n".join(lines) + "\n"


def _known(value: Any, what: str) -> Any:
    if value is None:
        raise FixtureError(f"The recording does not contain {what}; record the host again with a working nvidia-smi.")
    return value


def unpack(recording: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The recording as a folder, unpacked below ``folder`` where it is an archive.

    Raises FixtureError.
    """
    if recording.is_dir():
        found = recording
    elif tarfile.is_tarfile(recording):
        with tarfile.open(recording) as archive:
            archive.extractall(folder, filter="data")
        found = next(folder.iterdir(), folder)
    else:
        raise FixtureError(f"{recording} is neither a folder nor an archive; make one with scripts/record.sh.")
    if not (found / ROOT).is_dir():
        raise FixtureError(f"{recording} has no folder {ROOT}; make it with scripts/record.sh.")
    return found


def write_fixture(recording: pathlib.Path, name: str, fixtures: pathlib.Path) -> list[pathlib.Path]:
    """Write the fixture; the files and folders that it consists of.

    Raises FixtureError, and RecordingError where a recorded text cannot be read.
    """
    if not NAME.fullmatch(name):
        raise FixtureError(f"{name!r} is not a fixture name; expected one such as h200-driver-580.")
    if not recording.exists():
        raise FixtureError(f"{recording} does not exist; give the output of scripts/record.sh.")
    target, described = fixtures / name, fixtures / f"{name}-facts.json"
    if target.exists():
        raise FixtureError(f"{target} already exists; remove it first, or choose another name.")
    with tempfile.TemporaryDirectory() as temporary:
        found = unpack(recording, pathlib.Path(temporary))
        facts = observe_recording(found)
        simulated = render_driver(facts)
        shutil.copytree(found, target, symlinks=True)
    described.write_text(json.dumps({"gpu": facts}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if simulated is None:
        return [target, described]
    pod = target / "simulated-driver.conf"
    pod.write_text(simulated, encoding="utf-8")
    return [target, described, pod]


def main() -> int:
    """Run; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("recording", type=pathlib.Path, help="folder or archive written by scripts/record.sh")
    parser.add_argument("name", help="name of the fixture: GPU, number of GPUs, driver branch, system")
    arguments = parser.parse_args()
    try:
        written = write_fixture(arguments.recording, arguments.name, FIXTURES)
    except (FixtureError, RecordingError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{path.relative_to(REPOSITORY)}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
