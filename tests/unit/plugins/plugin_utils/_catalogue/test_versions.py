"""The order of versions."""

from __future__ import annotations

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.versions import compare, parse_version


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("570.26", "570.124.06"),
        ("12.9", "12.10"),
        ("2.9.1", "2.10.0"),
        ("0.0.33", "0.0.33.post0"),
        ("0.0.33.post0", "0.0.33.post1"),
        ("0.0.33.post1", "0.0.33.post2"),
        ("0.0.33.post2", "0.0.34"),
        ("2.9.0.dev20250901", "2.9.0rc1"),
        ("2.9.0a1", "2.9.0b1"),
        ("2.9.0b1", "2.9.0rc1"),
        ("2.9.0rc1", "2.9.0"),
        ("0.10.1", "0.10.1.1"),
    ],
)
def test_the_order_of_versions(older: str, newer: str) -> None:
    assert parse_version(older) < parse_version(newer)
    assert (compare(older, newer), compare(newer, older)) == (-1, 1)


@pytest.mark.parametrize(
    ("left", "right"), [("580", "580.0.0"), ("2.9.1", "2.9.1+cu130"), ("570.124.06", "570.124.6"), ("13.0", "13")]
)
def test_equal_versions(left: str, right: str) -> None:
    assert compare(left, right) == 0


@pytest.mark.parametrize(
    "text", ["2.9; rm -rf /", "", " 13.0", "13.0\n", "v13.0", "13.", ".0", "1.2.3.4.5.6", "newest", "2.9.0+", "٣.٠"]
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not a version; expected numbers separated by dots, such as 13\.0"
    ) as error:
        parse_version(text)
    assert str(error.value).startswith(repr(text))
