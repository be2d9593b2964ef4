"""Who sends a submission, and how its rows were made: `submission.toml`."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.io.toml import read_toml, validated, written
from harness.store.records import Time
from harness.text import plain

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Line = Annotated[str, Field(min_length=1, max_length=300)]


class About(BaseModel):
    """The keys of `submission.toml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    who: Line
    """A person or a group, as they want to be named."""
    contact: Line
    """A mail address, or an account on a forge; two submissions with the same one are one
    person's."""
    when: Annotated[Time, Field(max_length=40)]
    """ISO time in UTC, of when the submission was made."""
    hardware: Line
    command: Annotated[str, Field(min_length=1, max_length=4000)]
    """What made the rows."""
    harness: Line
    """The version that wrote the submission."""
    note: Annotated[str, Field(max_length=2000)] = ""
    files: dict[Line, Digest]
    """sha256 of every other file, by its name within the folder."""

    @field_validator("who", "contact", "hardware", "command", "note")
    @classmethod
    def _is_plain(cls, text: str) -> str:
        if plain(text) != text or text != text.strip():
            raise ValueError("write one line, without control characters or spaces around it")
        return text

    @property
    def person(self) -> frozenset[str]:
        """What names the sender. Two submissions that share any of it are one person's."""
        return frozenset(text.casefold() for text in (self.who, self.contact))


def read(file: Path) -> About:
    """Raises `BadInput`: the key, and what is wrong with it."""
    return validated(About, read_toml("submission", file), str(file))


def text_of(about: About) -> str:
    """As TOML."""
    values = about.model_dump(exclude={"files"}, exclude_defaults=True)
    return written({**values, "files": about.files})
