from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.podsmith.gpu.plugins.filter.image_hosts import FilterModule

image_hosts = FilterModule().filters()["image_hosts"]


def test_a_profile_needs_no_host() -> None:
    assert image_hosts("h100", {"all": [], "h100": []}) == [
        {"host": "image-of-h100", "groups": ["h100", "container_images"]}
    ]


def test_a_name_that_is_nothing() -> None:
    with pytest.raises(AnsibleFilterError, match="is neither a group nor a host of the inventory"):
        image_hosts("h200", {"all": [], "h100": []})
