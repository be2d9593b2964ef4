"""What to say where several tasks' data are missing: one table, and one command that fetches what
has an address."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.data import status
from harness.tasks.cards import TaskCard


def lines(problems: Mapping[str, str], cards: Sequence[TaskCard], root: Path | None) -> list[str]:
    """`problems`: by task, what is wrong with it. What is there and wrong keeps its own line; where
    nothing is there, the tasks share a table and a way to get them."""
    if len(problems) < 2:
        return list(problems.values())
    statuses = {card.name: status.status(card, root) for card in cards if card.name in problems}
    absent = [one for one in statuses.values() if one.state == "missing"]
    wrong = [problems[name] for name, one in statuses.items() if one.state != "missing"]
    if len(absent) < 2:
        return list(problems.values())
    return [*wrong, *_table(absent, root), *status.advice(absent, root)]


def _table(absent: Sequence[status.DataStatus], root: Path | None) -> Iterator[str]:
    where = f"in {root}" if root else "here: --data-root names the folder that holds them"
    yield f"the data of {len(absent)} tasks aren't {where}."
    rows = [("task", "download", "how to get it"), *map(_row, absent)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, size, how in rows:
        yield f"  {name:<{widths[0]}}  {size:>{widths[1]}}  {how}".rstrip()


def _row(one: status.DataStatus) -> tuple[str, str, str]:
    size = sum(archive.bytes or 0 for archive in one.card.archives)
    return one.card.name, status.readable(size), one.todo
