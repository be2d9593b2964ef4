"""That a result was made again: the record that `harness reproduce --record` writes, and that a
submission to a board carries."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import BadInput
from harness.io.atomic import replacing
from harness.io.toml import first_error
from harness.store.records import SAME_SCORE, Result, Time, result_id

FORMAT = "vpt-harness reproduction 1"

LARGEST = 20_000
"""Bytes of a record's file."""

CUDA_TOLERANCE = 0.5
"""Percentage points that two runs on CUDA may differ by, unless their method says otherwise: bf16
sums there depend on the order of threads."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Percent = Annotated[float, Field(ge=0, le=100)]
Text = Annotated[str, Field(max_length=300)]


class Record(BaseModel):
    """A stored result, and what the same run gave when it was made again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    format: Literal["vpt-harness reproduction 1"] = FORMAT
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    cell: Digest
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    score: Percent
    """As stored; so are the logits, and what it was computed on."""
    logits_sha256: Digest
    device: Text
    again_score: Percent
    """As made again; so are the next three."""
    again_logits_sha256: Digest
    again_device: Text
    again_versions: dict[Text, Text] = {}
    differences: list[Text] = []
    """What differs between the two runs, such as `torch 2.9 -> 2.10`."""
    created: Annotated[Time, Field(max_length=40)]

    @property
    def equal(self) -> bool:
        """To the last bit of the logits."""
        return self.logits_sha256 == self.again_logits_sha256

    def within(self, tolerance: float) -> bool:
        """Equal, or on CUDA with scores that are at most so many percentage points apart."""
        near = abs(self.again_score - self.score) <= tolerance
        return self.equal or (self.device != "cpu" and near)

    @property
    def contradiction(self) -> str | None:
        """What is inconsistent although each value is valid."""
        if self.id != result_id(self.cell, self.seed):
            return f"its id doesn't follow from its cell and seed {self.seed}"
        if self.equal and abs(self.score - self.again_score) > SAME_SCORE:
            return "equal logits with different scores"
        return None

    def is_of(self, result: Result) -> bool:
        """Whether this result is what was made again, unchanged since."""
        stored = (result.id, result.cell, result.seed, result.score, result.logits_sha256)
        return stored == (self.id, self.cell, self.seed, self.score, self.logits_sha256)


def write(record: Record, file: Path) -> None:
    """Writes the record as JSON. Raises `BadInput` if it can't, or if something else has that
    name."""
    if file.exists():
        read(file)
    with replacing(file) as opened:
        opened.write(f"{json.dumps(record.model_dump(), indent=1)}\n".encode())


def read(file: Path) -> Record:
    """The record in a file. Raises `BadInput` if it isn't one, or contradicts itself."""
    try:
        if file.stat().st_size > LARGEST:
            raise BadInput(f"{file}: larger than {LARGEST:,} bytes, so not a record.")
        record = Record.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BadInput(f"can't read {file} ({error.strerror}).") from error
    except ValidationError as error:
        raise BadInput(
            f"{file} isn't a record of `harness reproduce ID --record FILE`:"
            f" {first_error(Record, error)}"
        ) from error
    if problem := record.contradiction:
        raise BadInput(f"{file}: {problem}: the record was altered.")
    return record
