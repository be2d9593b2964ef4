"""Protocols in files: those that are shipped, next to this one, and a user's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import BadInput, unknown
from harness.io.toml import read_toml, validated
from harness.planning.protocols.overrides import merged
from harness.planning.protocols.settings import SEARCHED, Protocol
from harness.text import plain


def names() -> list[str]:
    return sorted(path.stem for path in Path(__file__).parent.glob("*.toml"))


def load(name: str, trials: int | None = None) -> Protocol:
    """A shipped protocol by name, or a user's own by the path of its .toml; `trials` replaces its
    number of trials. Raises `BadInput`."""
    path = _path(name, Path())
    fields = _read(path)
    if "name" in fields:
        raise BadInput(
            f"protocol {path}: name: a protocol has the name of its file; delete this key."
        )
    protocol = validated(Protocol, {**fields, "name": path.stem}, f"protocol {path}")
    present = {
        "title": protocol.title,
        "seeds": protocol.seeds,
        **{f"space.{name}": name in protocol.space for name in SEARCHED},
    }
    if protocol.fixed or protocol.start:
        raise BadInput(
            f"protocol {path}: {'fixed' if protocol.fixed else 'start'}: is a cell's, not a"
            " protocol's: give a table with --hparams or --start-from."
        )
    for field in (field for field, is_present in sorted(present.items()) if not is_present):
        raise BadInput(f"protocol {path}: {field}: Field required.")
    if trials is None:
        return protocol
    segmentation = protocol.segmentation and protocol.segmentation.model_copy(
        update={"trials": trials}
    )
    return protocol.model_copy(update={"trials": trials, "segmentation": segmentation})


def _path(name: str, folder: Path) -> Path:
    path = folder / name if name.endswith(".toml") else Path(__file__).parent / f"{name}.toml"
    if not path.is_file():
        raise unknown("protocol", name, names())
    return path


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's fields, those of the protocol that it `extends` first. Raises `BadInput`."""
    fields = read_toml("protocol", path)
    if "extends" not in fields:
        return fields
    extended = fields.pop("extends")
    if not isinstance(extended, str):
        raise BadInput(
            f"protocol {path}: extends: expected the name of a protocol or a .toml file in"
            " its folder."
        )
    other = _path(extended, path.parent)
    if other in (*above, path):
        raise BadInput(f"protocol {path}: extends: {plain(extended)} extends this one.")
    return _extended(_read(other, (*above, path)), fields)


def _extended(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base`, updated with `own`: tables entry by entry, overrides after those of `base`."""
    result = merged(base, own)
    if isinstance(base.get("override"), list) and isinstance(own.get("override"), list):
        result["override"] = [*base["override"], *own["override"]]
    if isinstance(base.get("segmentation"), dict) and isinstance(own.get("segmentation"), dict):
        result["segmentation"] = _extended(base["segmentation"], own["segmentation"])
    return result
