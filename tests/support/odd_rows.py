"""Rows with what is hard to store: odd texts, long numbers, booleans within JSON."""

from dataclasses import replace

from harness.store import Cell, Failure, Result, Trial, result_id

CELL = Cell(
    "c" * 64,
    {"method": {"name": "vpt", "arguments": {"prompts": 5, "deep": False}}, "b": 1.0},
    {"variant": "vpt", "suite": "mini"},
)
TRIAL = Trial(
    CELL.key,
    0,
    {"base_lr": 0.1, "prompts": 5, "cdc": True},
    "complete",
    0.1 + 0.2,
    {1: 10.0, 10: 20.5},
    None,
    1.5,
    300.0,
    {"a": [1]},
)
RESULT = Result(
    result_id(CELL.key, 3),
    CELL.key,
    3,
    {"base_lr": 0.1},
    97.123456789012345,
    960,
    1000,
    "f" * 64,
    2.5,
    5 * 2**30,
    1e9,
    {5: 1.0},
    {"x": "é\0"},
    "2026-01-01",
    {"miou": {"0.5": 1 / 3}, "iou": [0.1 + 0.2, 7]},
)
FAILURE = Failure(CELL.key, 1, "out of memory", "2026-01-01T00:00:00+00:00")
OTHER = replace(CELL, key="d" * 64, identity={"b": 2})
THEIRS = replace(RESULT, cell=OTHER.key, id=result_id(OTHER.key, 3))
