"""From a record to its columns: how the fields of a dataclass are stored in SQL, what they may
contain, and a row as column values.

A field's annotation defines all of it. Its SQL type follows from its Python type unless the
`Annotated` has an SQLAlchemy type; `Bounds` limits it; `Json` stores an object as text. A field
that may be None, or has a default, may be NULL: NULL stands for the default. A field added by a
later schema has a default, and the schema's number in `field(metadata={"since": 4})`.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin, get_type_hints

import sqlalchemy as sa
from sqlalchemy.types import TypeEngine

FIRST = 3
"""The schema of columns without `since`, and the oldest one that can be read."""

_SQL: dict[type, TypeEngine] = {str: sa.Text(), int: sa.BigInteger(), float: sa.Double()}


class Bounds:
    """Limits of a value, as arguments of pydantic's `Field`; pydantic is imported when something is
    checked."""

    def __init__(self, check: Callable[[Any], Any] | None = None, **bounds: Any) -> None:
        """`check`: takes the value and returns it, or raises `ValueError`."""
        self.check, self.bounds = check, bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import AfterValidator, Field

        checks = (AfterValidator(self.check),) if self.check else ()
        return handler.generate_schema(Annotated[source, Field(**self.bounds), *checks])


class Form:
    """Base of classes that name the required entries of a JSON object. It may have more."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic import ConfigDict, create_model

        entries: dict[str, Any] = {
            name: (hint, getattr(cls, name, ...))
            for name, hint in get_type_hints(cls, include_extras=True).items()
        }
        config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
        return handler.generate_schema(create_model(cls.__name__, __config__=config, **entries))


@dataclass(frozen=True)
class Json:
    """A JSON object, stored as text."""

    form: type[Form] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import JsonValue

        anything = dict[str, JsonValue] if source == dict[str, Any] else source
        return handler.generate_schema(self.form or anything)


@dataclass(frozen=True)
class Table:
    """How rows of a record are stored."""

    name: str
    keys: tuple[tuple[str, ...], ...]
    """Sets of columns that identify a row: all are unique; messages use the last one."""
    ordered: bool = False
    """Whether rows are numbered in order of insertion, in a column `row`."""
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class StoredRecord:
    """Base of the dataclasses that are rows. A column called `cell` holds the key of a cell."""

    TABLE: ClassVar[Table]
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "strict": True,
        "allow_inf_nan": False,
        "revalidate_instances": "always",
    }

    def contradiction(self) -> str | None:
        """What is inconsistent although each column is valid."""
        return None


@dataclass(frozen=True)
class Column:
    """One column of a record."""

    name: str
    type: TypeEngine
    json: bool
    numbered: bool
    """Whether the names in the JSON object are numbers."""
    optional: bool
    """Whether it may be NULL."""
    default: Any
    """`MISSING`: none."""
    since: int


@cache
def columns(record: type[StoredRecord]) -> tuple[Column, ...]:
    """A record's columns, in order."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(_column(entry, hints[entry.name]) for entry in fields(record))  # type: ignore[arg-type]


def _column(entry: Field, hint: Any) -> Column:
    optional = get_origin(hint) in (Union, UnionType)
    if optional:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    plain, notes = _type(hint), get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    is_json = any(isinstance(note, Json) for note in notes)
    types = [note for note in notes if isinstance(note, TypeEngine)]
    has_factory = entry.default_factory is not MISSING
    default = entry.default_factory() if has_factory else entry.default  # type: ignore[misc]
    return Column(
        entry.name,
        types[0] if types else _SQL[str if is_json else plain],
        is_json,
        is_json and _type(get_args(plain)[0]) is int,
        optional or default is not MISSING,
        default,
        entry.metadata.get("since", FIRST),
    )


def _type(hint: Any) -> Any:
    """A type hint without its `Annotated`."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def pack(row: StoredRecord) -> dict[str, Any]:
    """A row's columns. Refuses NaN and infinity: `ValueError`."""
    values = {}
    for column in columns(type(row)):
        value = getattr(row, column.name)
        if value == column.default:
            value = None
        elif column.json:
            try:
                value = json.dumps(value, sort_keys=True, allow_nan=False)
            except ValueError as error:
                raise ValueError(f"{column.name}: {error}") from error
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{column.name} is {value}: a store can only hold finite numbers")
        elif isinstance(value, str):
            # what some databases can't hold
            value = value.encode(errors="replace").decode().replace("\0", " ")
        values[column.name] = value
    return values


AnyStored = TypeVar("AnyStored", bound=StoredRecord)


def unpack(record: type[AnyStored], row: Mapping[Any, Any]) -> AnyStored:
    """A row from these columns. Those that an older schema lacks get their defaults. Raises
    `ValueError`, `TypeError` and `AttributeError` for anything but the JSON of an object."""
    stored, values = dict(row), {}
    for column in columns(record):
        value = stored.get(column.name)
        if value is None and column.default is not MISSING:
            continue
        if column.json:
            value = json.loads(value)  # type: ignore[arg-type]
            if column.numbered:
                value = {int(name): entry for name, entry in value.items()}
        values[column.name] = value
    return record(**values)
