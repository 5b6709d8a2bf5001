"""The filter hands over to the judge and turns its error into Ansible's."""

from __future__ import annotations

import json
import pathlib

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.benchmark_verdict import FilterModule

RUN = pathlib.Path(__file__).resolve().parents[3] / "fixtures" / "benchmarks" / "cpu-tiny.json"
benchmark_verdict = FilterModule().filters()["benchmark_verdict"]


def test_a_run_is_judged() -> None:
    assert benchmark_verdict(json.loads(RUN.read_text(encoding="utf-8")))["verdict"]["ok"] is True


def test_what_is_no_run_is_a_filter_error() -> None:
    with pytest.raises(AnsibleFilterError, match="schema None"):
        benchmark_verdict({})
