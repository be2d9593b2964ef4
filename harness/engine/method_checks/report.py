"""What a check of a method finds, and all of them together."""

from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    state: State
    said: str
    """One line; of a failure, with the place to look at."""
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """What the method raised, where that is the failure."""

    def __str__(self) -> str:
        return f"{self.state:<8}{self.name:<16}{self.said}"


@dataclass(frozen=True, repr=False)
class Report:
    """What all checks found of a method. `str` has a line a check."""

    method: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.state == "failed")

    @property
    def ok(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        return "\n".join([self.method, *map(str, self.checks)])

    def __repr__(self) -> str:
        return str(self)


class Fault(Exception):
    """A check that failed: where, unless the text says that itself."""

    def __init__(self, said: str, where: str | None = None):
        super().__init__(said)
        self.where = where


class Skipped(Exception):
    """A check that says nothing of this method, and why."""
