"""What stands behind a score: somebody else has made it again, one person has measured it, or a
paper prints it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.reporting.submissions.folder import Submission
from harness.reporting.submissions.rounding import is_made_again

REPRODUCED, MEASURED, PUBLISHED = "reproduced", "measured", "published"

MEANINGS = {
    REPRODUCED: "somebody else has run harness reproduce, and sent the record",
    MEASURED: "one person has measured it with this harness",
    PUBLISHED: "a paper prints it; not measured here, and in no mean or rank",
}


@dataclass(frozen=True)
class Mark:
    """Of one final run."""

    by: tuple[str, ...] = ()
    """The submissions whose records have made it again; by other people than those who sent it."""
    exactly: bool = False
    """Whether one of them has the same logits."""

    @property
    def name(self) -> str:
        return REPRODUCED if self.by else MEASURED


@dataclass(frozen=True)
class Marks:
    """Of several final runs: a score over seeds, or a method over tasks."""

    reproduced: int
    of: int
    by: tuple[str, ...]

    @property
    def name(self) -> str:
        return REPRODUCED if self.reproduced else MEASURED

    @property
    def text(self) -> str:
        """`measured`, `reproduced`, or `reproduced 1 of 15`."""
        if self.reproduced in (0, self.of):
            return self.name
        return f"{self.name} {self.reproduced} of {self.of}"


def marks_of(submissions: Sequence[Submission]) -> dict[str, Mark]:
    """By result id. A record counts if it is of the row as somebody else has sent it."""
    rows: dict[str, list[Submission]] = {}
    for one in submissions:
        for id in one.results:
            rows.setdefault(id, []).append(one)
    by: dict[str, list[str]] = {}
    exactly: set[str] = set()
    for one in submissions:
        for record in one.records:
            others = [
                sender
                for sender in rows.get(record.id, ())
                if record.is_of(sender.results[record.id])
                and not sender.about.person & one.about.person
            ]
            if others and is_made_again(record, others[0].cells[record.cell]):
                by.setdefault(record.id, []).append(one.name)
                exactly |= {record.id} if record.equal else set()
    return {id: Mark(tuple(by.get(id, ())), id in exactly) for id in rows}


def together(marks: Mapping[str, Mark], ids: Iterable[str]) -> Marks:
    """The marks of these results."""
    found = [marks[id] for id in ids]
    by = dict.fromkeys(name for mark in found for name in mark.by)
    return Marks(sum(bool(mark.by) for mark in found), len(found), tuple(by))
