"""docs/troubleshooting.md names what the collection itself recognises, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.podsmith.gpu.plugins.module_utils._build.causes import find_cause
from ansible_collections.podsmith.gpu.plugins.module_utils._verify.judge import advise
from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import Catalogue

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def messages(title: str) -> list[str]:
    """The code in the second column of a section's table, without the role's own words: "the build step was killed"."""
    rows = [line.split(" | ")[1] for line in section(title).splitlines() if line.startswith("| ")]
    return [
        found for row in rows for found in re.findall(r"`([^`]+)`", row) if not re.match(r"the (\w+ )?step ", found)
    ]


@pytest.mark.parametrize("message", messages("Source builds"))
def test_a_message_of_a_failed_build_is_one_that_the_role_explains(message: str) -> None:
    assert find_cause(f"[3/9] Building CXX object\n{message}\nninja: build stopped", jobs=8)


def test_the_table_of_failed_builds_is_read() -> None:
    assert len(messages("Source builds")) > 10


LIBRARIES = [
    message.replace("…", "4cuda9SetDeviceEab")
    for line in section("Libraries that do not fit").splitlines()
    for message in re.findall(r"`([^`]+)`", line.split(" | ")[0])
]
NCCL = [
    message
    for line in section("NCCL").splitlines()
    for message in re.findall(r"`([^`]+)`", line)
    if re.search(r"error\b|failed|Error", message)
]


@pytest.mark.parametrize("message", [*LIBRARIES, *NCCL, "Failed to initialize NVML: Unknown Error"])
def test_a_message_of_a_library_is_one_that_the_proof_explains(message: str, known: Catalogue) -> None:
    assert advise(f"Traceback\n{message}\n", known["drivers"]["errors"], "") != ""


def test_the_messages_of_libraries_are_read() -> None:
    assert len(LIBRARIES) == 10
    assert {"unhandled cuda error", "unhandled system error", "Error while creating shared memory segment"} < set(NCCL)


@pytest.mark.parametrize("anchor", sorted(set(re.findall(r"\(#([^)]+)\)", TEXT))))
def test_a_link_leads_to_a_heading(anchor: str) -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
