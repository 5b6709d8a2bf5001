"""What the fleet's hosts are after one bootstrap."""

from __future__ import annotations

import json
from typing import Any


def test_the_verdict_is_kept(host: Any) -> None:
    verdict = json.loads(host.file("/opt/podsmith/state/verdict.json").content_string)
    assert verdict["ok"]
    assert [check["check"] for check in verdict["checks"] if not check["ok"]] == []
