"""The registry of formats."""

from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.reporting.formats import FORMATS, by_suffix, load
from harness.reporting.formats.format import Format
from harness.reporting.report import format_of


@pytest.mark.parametrize("name", FORMATS)
def test_each_is_loaded_and_named_by_files(name: str) -> None:
    assert isinstance(load(name), Format)
    assert by_suffix(f".{name}") == name
    assert format_of(None, Path(f"board.{name}")) == name


def test_other_suffixes_and_none() -> None:
    found = {suffix: by_suffix(suffix) for suffix in (".txt", ".tex", ".htm", ".doc")}
    assert found == {".txt": "table", ".tex": "latex", ".htm": "html", ".doc": None}
    with pytest.raises(BadInput, match=r"no format has this suffix.* one of \.table, \.md, \.csv"):
        format_of(None, Path("board.doc"))
    with pytest.raises(BadInput, match="unknown format 'tabel'"):
        format_of("tabel", None)
    with pytest.raises(BadInput, match=r"can't be printed: give --output FILE\.png"):
        format_of("png", None)
