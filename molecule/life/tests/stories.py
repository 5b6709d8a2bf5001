"""Stories: a pod for each, and steps that build on each other. A scenario's conftest takes all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from life import Pod

FAILED: pytest.StashKey[bool] = pytest.StashKey()


def pod_of_each_story(prefix: str) -> Callable[..., Any]:
    """A fixture ``pod``: the host that is named as its story's file, ``life-driver`` for ``test_driver.py``."""

    @pytest.fixture(scope="module")
    def pod(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pod:
        story = Path(request.path).stem.removeprefix("test_")
        return Pod(f"{prefix}-{story}", tmp_path_factory.mktemp(story))

    return pod


@pytest.fixture(autouse=True)
def stop_after_the_first_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """The steps of a story build on each other: after one that failed the rest of the story proves nothing."""
    story = request.node.parent
    if failed := getattr(story, "failed_step", None):
        pytest.skip(f"the step before failed: {failed}")
    yield
    if request.node.stash.get(FAILED, False):
        story.failed_step = request.node.name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Tell the fixture above how a step ended."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
