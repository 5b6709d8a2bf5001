"""The pod of the story, and steps that build on each other."""

from __future__ import annotations

from stories import pod_of_each_story, pytest_runtest_makereport, stop_after_the_first_failure

__all__ = ["pod", "pytest_runtest_makereport", "stop_after_the_first_failure"]

pod = pod_of_each_story("role-nvidia")
