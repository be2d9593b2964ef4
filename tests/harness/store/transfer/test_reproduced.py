"""The record that somebody has made a result again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import VPT, result

from harness.errors import BadInput
from harness.store.transfer import reproduced
from harness.store.transfer.reproduced import Record

ROW = result(VPT, 7)


def record(**more: Any) -> Record:
    values = {
        "id": ROW.id,
        "cell": ROW.cell,
        "seed": 7,
        "score": ROW.score,
        "logits_sha256": ROW.logits_sha256,
        "device": "cpu",
        "again_score": ROW.score,
        "again_logits_sha256": ROW.logits_sha256,
        "again_device": "cpu",
        "differences": ["torch 2.9 -> 2.10"],
        "created": "2026-02-01T10:00:00+00:00",
    }
    return Record.model_validate({**values, **more})


def test_a_record_comes_back_and_is_of_its_row_alone(tmp_path: Path) -> None:
    file = tmp_path / "again.json"
    reproduced.write(record(), file)
    found = reproduced.read(file)
    assert found == record()
    assert found.is_of(ROW)
    for changed in ({"logits_sha256": "f" * 64}, {"score": 91.0}, {"seed": 8}, {"id": "0" * 12}):
        assert not found.is_of(replace(ROW, **changed))


@pytest.mark.parametrize(
    ("change", "equal", "within"),
    [
        ({}, True, True),
        ({"again_logits_sha256": "f" * 64}, False, False),
        ({"again_logits_sha256": "f" * 64, "device": "NVIDIA H100"}, False, True),
        (
            {"again_logits_sha256": "f" * 64, "device": "NVIDIA H100", "again_score": 90.5},
            False,
            True,
        ),
        (
            {"again_logits_sha256": "f" * 64, "device": "NVIDIA H100", "again_score": 90.51},
            False,
            False,
        ),
    ],
)
def test_other_logits_count_on_cuda_alone_and_within_what_rounding_may_move(
    change: dict[str, Any], equal: bool, within: bool
) -> None:
    found = record(**change)
    assert (found.equal, found.within(0.5)) == (equal, within)


def test_the_last_place_of_a_score_is_nobodys_forgery(tmp_path: Path) -> None:
    """`harness reproduce` calls such a result equal, and writes this record."""
    file = tmp_path / "again.json"
    reproduced.write(record(again_score=ROW.score + 1e-9), file)
    assert reproduced.read(file).equal


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"again_score": ROW.score + 1e-5}, "equal logits with different scores"),
        ({"seed": 8}, "its id doesn't follow from its cell and seed 8: the record was altered"),
        ({"again_score": 91.0}, "equal logits with different scores"),
        ({"score": 140.0}, "score: Input should be less than or equal to 100"),
        ({"logits_sha256": "abc"}, "logits_sha256: String should match pattern"),
        ({"created": "yesterday"}, "created: "),
        ({"sent_by": "me"}, "unknown key 'sent_by'"),
        ({"format": "another"}, "format: "),
    ],
)
def test_what_no_reproduction_can_have_written_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    file = tmp_path / "again.json"
    file.write_text(json.dumps({**record().model_dump(), **change}))
    with pytest.raises(BadInput, match=said):
        reproduced.read(file)


@pytest.mark.parametrize("text", [b"", b"[1]", b"\xff", b"[" * 10_000, b" " * 30_000])
def test_another_file_is_no_record_and_stays(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "again.json"
    file.write_bytes(text)
    with pytest.raises(BadInput, match=r"again\.json"):
        reproduced.write(record(), file)
    assert file.read_bytes() == text
