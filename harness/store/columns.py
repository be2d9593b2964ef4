"""From a record to its columns: how the fields of a dataclass are kept in SQL, what they may hold,
and a row's form as column values.

A field's annotation says all of it. Its SQL type follows from its Python type unless a type of
SQLAlchemy stands in the `Annotated`; `Bounds` limits it; `Json` keeps an object as text. A field
that takes None, or has a default, may be NULL: NULL stands for the default. A field that came with
a later schema has a default, and the schema's number in `field(metadata={"since": 4})`.
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
"""The schema of the columns that don't say since when they are there, and the oldest one that is
read."""

_SQL: dict[type, TypeEngine] = {str: sa.Text(), int: sa.BigInteger(), float: sa.Double()}


class Bounds:
    """What a value may be, in the words of pydantic's `Field`; pydantic is imported when something
    is checked."""

    def __init__(self, check: Callable[[Any], Any] | None = None, **bounds: Any) -> None:
        """`check`: takes the value and gives it back, or raises `ValueError`."""
        self.check, self.bounds = check, bounds

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import AfterValidator, Field

        checks = (AfterValidator(self.check),) if self.check else ()
        return handler.generate_schema(Annotated[source, Field(**self.bounds), *checks])


class Form:
    """Base of classes that name what a JSON object holds at least. More may be there."""

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
    """A JSON object, kept as text."""

    form: type[Form] | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import JsonValue

        anything = dict[str, JsonValue] if source == dict[str, Any] else source
        return handler.generate_schema(self.form or anything)


@dataclass(frozen=True)
class Table:
    """How rows of a record are kept."""

    name: str
    keys: tuple[tuple[str, ...], ...]
    """Columns that together name a row: all are unique, the last are how messages name it."""
    ordered: bool = False
    """Rows are numbered as they come, in a column `row`."""
    indexes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Record:
    """Base of the dataclasses that are rows. A column called `cell` holds the key of a cell."""

    TABLE: ClassVar[Table]
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "strict": True,
        "allow_inf_nan": False,
        "revalidate_instances": "always",
    }

    def contradiction(self) -> str | None:
        """What can't be right although each column is."""
        return None


@dataclass(frozen=True)
class Column:
    """One column of a record."""

    name: str
    type: TypeEngine
    json: bool
    numbered: bool
    """The names in the JSON object are numbers."""
    optional: bool
    """It may be NULL."""
    default: Any
    """`MISSING`: none."""
    since: int


@cache
def columns(record: type[Record]) -> tuple[Column, ...]:
    """Of a record, in order."""
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
    """A hint without what `Annotated` says of it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def pack(row: Record) -> dict[str, Any]:
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
            raise ValueError(f"{column.name} is {value}: a store holds finite numbers only")
        elif isinstance(value, str):
            # what some databases can't hold
            value = value.encode(errors="replace").decode().replace("\0", " ")
        values[column.name] = value
    return values


AnyRecord = TypeVar("AnyRecord", bound=Record)


def unpack(record: type[AnyRecord], row: Mapping[Any, Any]) -> AnyRecord:
    """A row of these columns. Those that an older schema lacks take their defaults. Raises
    `ValueError`, `TypeError` and `AttributeError` for what isn't the JSON of an object."""
    given, values = dict(row), {}
    for column in columns(record):
        value = given.get(column.name)
        if value is None and column.default is not MISSING:
            continue
        if column.json:
            value = json.loads(value)  # type: ignore[arg-type]
            if column.numbered:
                value = {int(name): entry for name, entry in value.items()}
        values[column.name] = value
    return record(**values)
