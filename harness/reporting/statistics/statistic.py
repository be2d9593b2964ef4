"""What a statistic of a variant over tasks is: a column in every format."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Scores = Mapping[str, Mapping[str, float]]
"""Mean score in percent: {variant: {task: score}}, without missing ones."""
Groups = Mapping[str, Sequence[str]]
"""The tasks of each group."""


@dataclass(frozen=True)
class Statistic:
    """One number per variant; a file here defines it, and `STATISTICS` names it."""

    name: str
    """Its key in JSON."""
    of: Callable[[Scores, Groups], Mapping[str, float | None]]
    """By variant; None if it can't be computed, such as when a task is missing."""
    title: Callable[[Groups], str]
    """Of its column."""
    help: str
    """What it is, in a phrase."""
    digits: int = 2
    lowest_is_best: bool = False
    partial: Callable[[Mapping[str, float], Sequence[str]], float | None] | None = None
    """What is shown, small and unranked, for a variant that lacks a task."""
    fewest_variants: int = 1
    fewest_groups: int = 1
    beside_groups: bool = False
    """Whether a table shows it only where it shows the groups' means."""
