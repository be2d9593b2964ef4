"""Whether the harness can have written a row: types, bounds and keys, as defined in `records`."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.store.columns import StoredRecord, pack
from harness.text import plain


@cache
def _form(record: type[StoredRecord]) -> TypeAdapter:
    return TypeAdapter(record)


def fault(row: StoredRecord) -> str | None:
    """What is wrong with it, in a line: a type, a bound, a number that isn't finite, a key."""
    try:
        _form(type(row)).validate_python(row)
        pack(row)  # refuses what isn't finite inside the JSON
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where, value = plain(".".join(map(str, first["loc"])))[:100], first["input"]
        rule = re.sub(r"^Value error, | or instance of \w+", "", first["msg"])
        if isinstance(value, dict | list | tuple | bytes):
            return f"{where}: {rule}"
        return f"{where} is {plain(repr(value))[:40]}: {rule}"
    except (ValueError, RecursionError, OverflowError) as error:
        return plain(str(error))[:100]
    return row.contradiction()


def named(record: type[StoredRecord], values: Mapping[str, Any]) -> str:
    """A row's name in messages, whatever it contains."""
    kind, (*of, last) = record.__name__.lower(), record.TABLE.keys[-1]
    if of:
        return f"{kind} with {last} {values[last]} of cell {values['cell']}"
    return f"{kind} {values[last]}"
