"""The filter in front of the generation's generator."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.generation_files import FilterModule

generation_files = FilterModule().filters()["generation_files"]
ENVIRONMENT = {"scope": "user", "prefix": "/p", "path": "/p/environments/1", "live": False}


def test_the_files_suit_the_module() -> None:
    (file,) = generation_files(ENVIRONMENT)
    assert (file["path"], file["mode"], file["block"]) == ("activate.sh", "0644", False)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"path": "/p"}, "has no 'prefix'; generation_files expects prefix, path and, with pytorch, site_packages"),
        ({"prefix": "/p", "path": "/p/e", "pytorch": True}, "has no 'site_packages'"),
    ],
)
def test_a_missing_key_is_named(environment: dict[str, object], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        generation_files(environment)
