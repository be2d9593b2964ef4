"""Rows from outside, checked: what is taken into a store has the types and bounds of what the
harness writes, and keys that are true."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from harness.errors import BadInput
from harness.store.records import Cell, Failure, Result, Trial, cell_key, pack, result_id
from harness.store.transfer.exchange import Rows
from harness.text import plain


def _iso(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset():
        raise ValueError("not in UTC")
    return text


Name = Annotated[str, Field(min_length=1, max_length=1000)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Time = Annotated[str, Field(max_length=40), AfterValidator(_iso)]
Count = Annotated[int, Field(ge=0, lt=2**63)]
Amount = Annotated[float, Field(ge=0)]
Above = Annotated[float, Field(gt=0)]
Percent = Annotated[float, Field(ge=0, le=100)]
Curve = dict[Count, Percent]
Json = dict[str, JsonValue]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class _Open(BaseModel):
    """More may be there than is named here: the key covers it, or it is for display only."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")


class _Method(_Open):
    name: Name
    version: str | int
    arguments: Json


class _Normalize(_Open):
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[Above] = Field(min_length=3, max_length=3)


class _Task(_Open):
    name: Name
    data: str
    pixels: str
    normalize: _Normalize | None = None


class _Backbone(_Open):
    name: Name
    sha256: str
    pooling: str
    side: Count | None = None


class _Protocol(_Open):
    epochs: Count | None = None


class _Identity(_Open):
    method: _Method
    task: _Task
    backbone: _Backbone
    protocol: _Protocol


class _Labels(_Open):
    variant: Name
    suite: Name
    group: Name
    metric: Name
    protocol: Name
    kind: str = ""
    classes: Count = 0
    note: str | None = None


class _Cell(_Form):
    key: Digest
    identity: _Identity
    labels: _Labels


class _Trial(_Form):
    cell: Digest
    number: Annotated[int, Field(ge=0, lt=2**31)]
    params: Json
    state: Literal["complete", "pruned", "failed"]
    value: Percent | None
    curve: Curve
    reason: str | None
    seconds: Amount
    units: Amount
    provenance: Json


class _Result(_Form):
    id: str
    cell: Digest
    seed: Count
    params: Json
    score: Percent
    trainable: Count
    head_params: Count
    logits_sha256: Digest
    seconds: Amount
    memory: Count
    units: Amount
    curve: Curve
    provenance: Json
    created: Time
    extras: Json


class _Failure(_Form):
    cell: Digest
    seed: Count
    reason: str
    created: Time


_FORMS: dict[type, type[BaseModel]] = {
    Cell: _Cell,
    Trial: _Trial,
    Result: _Result,
    Failure: _Failure,
}


def checked(rows: Rows, name: str) -> Rows:
    """The rows as they may be stored: labels without control characters, results under the ids that
    follow from their cells and seeds.

    Raises `BadInput` for the first one that the harness can't have written: of another type, not
    finite, out of bounds, there twice, of an absent cell, or with a key that isn't the digest of
    its identity. `name`: of the source, for the message.
    """
    cells = [replace(cell, labels=_plain(cell.labels)) for cell in rows.cells]
    results = [replace(row, id=result_id(row.cell, row.seed)) for row in rows.results]
    _check(cells, name, lambda cell: f"cell {str(cell.key)[:12]}")
    for cell in cells:
        if cell_key(cell.identity) != cell.key:
            raise BadInput(
                f"{name}: the key of cell {cell.key[:12]} isn't the digest of its identity, so it"
                " was changed: not imported."
            )
    keys = {cell.key for cell in cells}
    _check(rows.trials, name, lambda row: f"trial {row.number} of cell {str(row.cell)[:12]}", keys)
    _check(
        results,
        name,
        lambda row: f"the result of cell {str(row.cell)[:12]} with seed {row.seed}",
        keys,
    )
    _check(
        rows.failures,
        name,
        lambda row: f"the failure of cell {str(row.cell)[:12]} with seed {row.seed}",
        keys,
    )
    return Rows(cells, rows.trials, results, rows.failures)


def _check(rows: Iterable[Any], name: str, what: Any, keys: set[str] | None = None) -> None:
    seen: set[str] = set()
    for row in rows:
        said = plain(what(row))[:100]
        try:
            _FORMS[type(row)].model_validate(vars(row))
            pack(row)  # refuses what isn't finite inside the JSON
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = plain(".".join(map(str, first["loc"])))[:100]
            what_is = re.sub(r"^Value error, | or instance of \w+", "", first["msg"])
            raise BadInput(
                f"{name}: {said}: {where}: {what_is}. It is damaged or was changed: not imported."
            ) from error
        except (ValueError, RecursionError, OverflowError) as error:
            raise BadInput(
                f"{name}: {said}: {plain(str(error))[:100]}. It is damaged or was changed: not"
                " imported."
            ) from error
        if said in seen:
            raise BadInput(f"{name}: {said} is there twice: not imported.")
        if keys is not None and row.cell not in keys:
            raise BadInput(f"{name}: {said}: there is no such cell: not imported.")
        seen.add(said)


def _plain(labels: Any) -> Any:
    """Strings of a dict without control characters; anything else as it is, to be refused by its
    form."""
    if not isinstance(labels, dict):
        return labels
    return {
        name: plain(value.encode(errors="replace").decode()) if isinstance(value, str) else value
        for name, value in labels.items()
    }
