"""The catalogue is read once, and a file that cannot be read is named."""

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.podsmith.gpu.plugins.plugin_utils._catalogue.load import (
    CatalogueError,
    load_cached,
    load_catalogue,
)


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


def test_a_copy_says_the_same(tmp_path: pathlib.Path) -> None:
    assert load_cached(tmp_path / "cache") == load_catalogue()
    (copy,) = (tmp_path / "cache").iterdir()
    copy.write_text('{"read": {}}', encoding="utf-8")
    assert load_cached(tmp_path / "cache") == {"read": {}}


@pytest.mark.parametrize("damage", ["", "{", None])
def test_a_copy_that_is_none_is_made_again(damage: str | None, tmp_path: pathlib.Path) -> None:
    folder, cache = tmp_path / "catalogue", tmp_path / "cache"
    folder.mkdir()
    (folder / "cuda.yml").write_text('releases: {"1.0": {a: 1}}\n', encoding="utf-8")
    load_cached(cache, folder)
    (copy,) = cache.iterdir()
    if damage is None:
        copy.unlink()
    else:
        copy.write_text(damage, encoding="utf-8")
    assert load_cached(cache, folder) == {"cuda": {"releases": {"1.0": {"a": 1}}}}
    assert [path.read_text(encoding="utf-8") for path in cache.iterdir()] == [
        '{"cuda": {"releases": {"1.0": {"a": 1}}}}'
    ]


def test_a_changed_file_makes_another_copy(tmp_path: pathlib.Path) -> None:
    folder, cache = tmp_path / "catalogue", tmp_path / "cache"
    folder.mkdir()
    (folder / "cuda.yml").write_text('releases: {"1.0": {a: 1}}\n', encoding="utf-8")
    load_cached(cache, folder)
    (folder / "cuda.yml").write_text('releases: {"1.0": {a: 1, b: 2}}\n', encoding="utf-8")
    load_catalogue.cache_clear()
    assert load_cached(cache, folder) == {"cuda": {"releases": {"1.0": {"a": 1, "b": 2}}}}
    assert len(list(cache.iterdir())) == 1


def test_where_no_copy_can_be_written_the_files_are_read(tmp_path: pathlib.Path) -> None:
    (tmp_path / "cache").write_text("in the way", encoding="utf-8")
    assert load_cached(tmp_path / "cache") == load_catalogue()
