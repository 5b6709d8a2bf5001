"""The catalogue is read once, and a file that cannot be read is named."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import CatalogueError, load_catalogue


def test_the_catalogue_is_read_once() -> None:
    assert load_catalogue() is load_catalogue()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(None, "holds no *.yml file; reinstall the collection", id="no-file"),
        pytest.param("- 1\n", "must be a mapping of sections to rows; restore it from the collection.", id="list"),
        pytest.param("releases: 13\n", "must be a mapping of sections to rows", id="section-is-a-number"),
        pytest.param("releases: {", "cuda.yml cannot be read: ", id="not-yaml"),
    ],
)
def test_a_catalogue_that_cannot_be_read(text: str | None, told: str, tmp_path: pathlib.Path) -> None:
    if text is not None:
        (tmp_path / "cuda.yml").write_text(text, encoding="utf-8")
    with pytest.raises(CatalogueError) as error:
        load_catalogue(tmp_path)
    assert told in str(error.value)
