"""One loader for TOML files: what is wrong, where, and the nearest key that is known."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, model_validator

from harness.errors import BadInput
from harness.io.toml import read_toml, validated


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str = ""
    width: int = 1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}

    @model_validator(mode="after")
    def _has_no_dot(self) -> "Outer":
        if "." in self.title:
            raise ValueError("a title has no dots.")
        return self


def read(path: Path, text: str) -> Outer:
    path.write_text(text, encoding="utf-8")
    return validated(Outer, read_toml("thing", path), f"thing {path}")


def test_a_file_is_read_with_a_byte_order_mark_or_without(tmp_path: Path):
    for mark in ("", "\ufeff"):
        assert read(tmp_path / "a.toml", f"{mark}title = 'é'\ninner.width = 3\n").inner.width == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 'x'\n", "unknown key 'titel'. Did you mean 'title'?"),
        ("title = 'x'\ninner.color = 'x'\n", "unknown key 'inner.color'. Did you mean 'colour'?"),
        ("title = 'x'\n[[many]]\nwidht = 2\n", "unknown key 'many.0.widht'. Did you mean 'width'?"),
        ("title = 'x'\nnamed.a.widht = 2\n", "unknown key 'named.a.widht'. Did you mean 'width'?"),
        ("inner.width = 2\n", "title: Field required."),
        ("title = 'x'\ninner.width = 'b'\n", "inner.width: Input should be a valid integer"),
        ("title = 'a.b'\n", "a title has no dots."),
        ("title = ", "can't be read: Invalid value"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(BadInput) as caught:
        read(tmp_path / "a.toml", text)
    assert str(caught.value).startswith(f"thing {tmp_path / 'a.toml'}: {message}")
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith("..")


def test_a_file_that_isnt_there(tmp_path: Path):
    with pytest.raises(BadInput, match=r"thing .*a\.toml: can't be read: .*No such file"):
        read_toml("thing", tmp_path / "a.toml")
