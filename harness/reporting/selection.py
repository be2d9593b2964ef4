"""Which rows of a store a report is of: those of some cells, tasks and methods."""

import re
from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from harness.errors import BadInput, unknown
from harness.io import commands
from harness.reporting import frame
from harness.store import Store
from harness.tasks.cards import load_cards


def stored(
    store: Store,
    tasks: Sequence[str] | None,
    suite_name: str | None,
    cells: Collection[str] | None,
    detail: bool = False,
    precision: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frames of `frame.rows` and `frame.failures`, of these tasks and cells, None for all.
    Raises `BadInput` where there is nothing."""
    results, failed = frame.rows(store, cells, detail, precision), frame.failures(store, cells)
    if results.empty and failed.empty:
        of_this = "" if cells is None else " of this run"
        raise BadInput(
            f"{store.name} holds no results{of_this}: `{commands.command('run', store=store)}`"
            " makes some."
        )
    if tasks is not None:
        results, failed = (where(part, "task", tasks) for part in (results, failed))
        if results.empty and failed.empty:
            flag = ("--suite", suite_name) if suite_name else ("--tasks", ",".join(tasks))
            if suite_name or set(tasks) <= load_cards().keys():
                mend = f"`{commands.command('run', *flag, store=store)}` makes them"
            else:
                mend = f"`{commands.command('results', 'list', store=store)}` says which there are"
            raise BadInput(f"{store.name} holds no results of {flag[1]}: {mend}.")
    return results, failed


def where(part: pd.DataFrame, column: str, values: Collection[str]) -> pd.DataFrame:
    """The rows with one of these values."""
    return pd.DataFrame(part[part[column].isin(list(values))])


def of_methods(
    results: pd.DataFrame, failed: pd.DataFrame, methods: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the methods named: `ivpt` is all its variants, `ivpt(da=false)` that one. Raises
    `BadInput`."""
    known = _known(results, failed)
    wanted = {variant for name in methods for variant in _named(known, name)}
    return where(results, "variant", wanted), where(failed, "variant", wanted)


def one_variant(results: pd.DataFrame, failed: pd.DataFrame, name: str) -> str:
    """The variant that this name means: that which is written so, else the only one of the method.
    Raises `BadInput`."""
    found = _named(_known(results, failed), name)
    exact = [variant for variant in found if _canonical(variant) == _canonical(name)]
    if not exact and len(found) > 1:
        raise BadInput(
            f"method '{name}' has {len(found)} variants here: name one of"
            f" {', '.join(sorted(found))}."
        )
    return (exact or found)[0]


def _known(results: pd.DataFrame, failed: pd.DataFrame) -> dict[str, str]:
    """The method of each variant."""
    return {
        row["variant"]: row["method"] for part in (results, failed) for row in frame.records(part)
    }


def _named(known: Mapping[str, str], name: str) -> list[str]:
    found = [
        variant
        for variant, method in known.items()
        if method == name or _canonical(variant) == _canonical(name)
    ]
    if not found:
        raise unknown("method", name, {*known.values(), *known})
    return found


def _canonical(variant: str) -> str:
    """The variant without spaces, its arguments sorted."""
    name, _, inside = re.sub(r"\s", "", variant).partition("(")
    return f"{name}({','.join(sorted(inside.removesuffix(')').split(',')))})"
