"""What sections are called: what differs, and never two alike."""

import json
from dataclasses import replace
from typing import Any

import pytest

from harness.reporting.captions import title_of
from harness.reporting.leaderboard import leaderboard
from harness.reporting.result_list import Wanted, records, table
from harness.reporting.rows import read
from harness.reporting.section import sections
from harness.reporting.section_names import NamedProtocol, protocol_names
from harness.text import rendered

FILE = {"batch_size": 16, "epochs": 15, "space": {"base_lr": {"low": 0.15, "high": 2.0}}}


def named(*settings: dict[str, Any], metric: str = "top1") -> list[str]:
    protocols = [NamedProtocol("mini", metric, json.dumps(one)) for one in settings]
    names = protocol_names(protocols)
    return [names[one] for one in protocols]


def test_a_protocol_is_its_file_and_the_flags_that_differ() -> None:
    assert named({**FILE, "trials": 4}) == ["mini"]
    four, one, grid = named(*({**FILE, "trials": count} for count in (4, 1, None)))
    assert [four, one, grid] == ["mini, 4 trials", "mini, 1 trial", "mini, the whole grid"]
    assert named(FILE, {**FILE, "precision": "bf16"}) == ["mini, fp32", "mini, bf16"]
    found = named(FILE, {**FILE, "hparams": "osu"}, {**FILE, "start": "osu"})
    assert found == ["mini", "mini, hyper-parameters of osu", "mini, started from osu"]


def test_what_is_long_is_named_by_its_content() -> None:
    wider = {**FILE, "space": {"base_lr": {"low": 0.01, "high": 9.0}}}
    first, second = named(FILE, wider)
    assert first != second
    assert all(name.startswith("mini, space ") and len(name) < 20 for name in (first, second))
    other = {**wider, "epochs": 5, "batch_size": 8, "warmup": 3, "trials": 2}
    _, another = named(FILE, other)
    assert another.startswith("mini, 2 trials, 5 epochs, another file (")


def test_no_two_of_a_metric_are_alike() -> None:
    """Not even two files that differ in a setting that only one of them has."""
    names = named(FILE, {**FILE, "hparams": ""}, {**FILE, "start": None}, {**FILE, "x": None})
    assert len(set(names)) == 4


def test_kinds_of_task_are_not_told_apart_by_their_recipes() -> None:
    both = [
        NamedProtocol("mini", "top1", json.dumps(FILE)),
        NamedProtocol("mini", "miou", json.dumps({"iterations": 240, "momentum": 0.9})),
    ]
    assert set(protocol_names(both).values()) == {"mini"}


def test_titles_of_a_store_differ(filler: Any) -> None:
    for trials in (4, 1):
        filler.results(filler.cell("vpt", "digits", protocol={"trials": trials}), [50.0])
    seg = filler.cell("vpt", "scenes", suite="mini-seg", metric="miou", protocol={"iterations": 9})
    filler.results(seg, [40.0])
    board = leaderboard(read(filler.store))
    assert [title_of(part) for part in sections(board, None, None)] == [
        "mini · mini_vit · protocol mini, 4 trials",
        "mini · mini_vit · protocol mini, 1 trial",
        "mini-seg · mini_vit · protocol mini",
    ]
    # tasks of both kinds under one name
    titles = [title_of(part) for part in sections(board, ("digits", "scenes"), "all")]
    assert titles == [
        "all · mini_vit · protocol mini, 4 trials",
        "all · mini_vit · protocol mini, 1 trial",
        "all · mini_vit · protocol mini",
    ]
    alike = [replace(row, cell=replace(row.cell, protocol_digest="0")) for row in board[::2]]
    assert [title_of(part) for part in sections(alike, ("digits", "scenes"), "all")] == [
        "all · mini_vit · protocol mini, Top-1 accuracy",
        "all · mini_vit · protocol mini, mIoU",
    ]


@pytest.mark.parametrize("field", ["pooling", "side"])
def test_backbones_of_one_name_differ_by_what_is_read(filler: Any, field: str) -> None:
    for variant in ("a", "b"):
        filler.results(filler.cell(variant, "digits"), [50.0])
    board = leaderboard(read(filler.store))
    first, second = board
    apart = [first, replace(second, cell=replace(second.cell, **{field: "64"}))]
    titles = [title_of(part) for part in sections(apart, None, None)]
    assert titles[0] != titles[1]
    assert "64" in titles[1]


def test_the_list_of_results_tells_protocols_apart(filler: Any) -> None:
    for trials in (4, 1):
        filler.results(filler.cell("ivpt", "digits", protocol={"trials": trials}), [83.0])
    rows = records(filler.store, Wanted().results(filler.store))
    assert [row["protocol"] for row in rows] == ["mini", "mini"]
    text = rendered(table(filler.store, rows), 120)
    assert "mini, 4 trials" in text
    assert "mini, 1 trial " in text
