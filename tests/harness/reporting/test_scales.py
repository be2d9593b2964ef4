"""Segmentation in the report: mIoU at one scale and at several, in columns apart from accuracies,
and in no mean with them."""

import json
from typing import Any

import pytest
from rich.console import Console

from harness.reporting.report import Report
from harness.reporting.rows import read
from harness.reporting.tidy import tidy
from harness.store import Store

PROTOCOL = {"iterations": 240}


def board(store: Store, form: str) -> str:
    shown = Report(store).render(form)
    if form != "table":
        return str(shown)
    console = Console(width=160)
    with console.capture() as said:
        console.print(shown)
    return said.get()


@pytest.fixture
def store(filler: Any) -> Store:
    """Two methods on a classification and a segmentation task; three of four segmentation runs
    scored at several scales."""
    for variant, first in (("vpt", 50.0), ("linear", 48.0)):
        filler.results(filler.cell(variant, "digits"), [first + 40, first + 41])
        key = filler.cell(
            variant, "scenes", metric="miou", suite="mini-seg", group="sprites", protocol=PROTOCOL
        )
        filler.results(key, [first, first + 2])
    several = [row for row in filler.store.results() if row.score < 60]
    for row, score in zip(several, (51.0, 55.0, 49.5), strict=False):
        filler.store.add_extras(row.id, {"miou_ms": score, "class_iou_ms": [None, 3.0]})
    return filler.store


def test_the_columns_of_one_scale_and_of_several_stand_apart_from_accuracies(store: Store):
    text = board(store, "md")
    accuracies, segmentation = text.split("### mini-seg")
    assert "mIoU" not in accuracies
    assert "| Method | digits | Params | Mean of 1 | Rank |" in accuracies
    assert (
        "| Method | scenes mIoU-SS | scenes mIoU-MS | Params | Mean of 1 | Rank |" in segmentation
    )
    assert "| vpt | **51.0** ±1.4 | **53.0** ±2.8 |" in segmentation
    assert "| 51.00 | " in segmentation.replace("**", "")
    assert "*49.0*" in segmentation
    assert "*49.5* n=1" in segmentation
    assert "mIoU (SS: single scale, MS: six scales and their mirror images) in %" in segmentation
    for form in ("table", "latex"):
        said = board(store, form)
        assert said.index("digits") < said.index("SS") < said.index("MS")
        assert all(number in said for number in ("53.0", "49.5"))


def test_no_form_has_a_mean_over_both_kinds(store: Store):
    document = json.loads(board(store, "json"))
    assert {(row["metric"], row["variant"]): row["mean"] for row in document["methods"]} == {
        ("top1", "vpt"): 90.5,
        ("top1", "linear"): 88.5,
        ("miou", "vpt"): 51.0,
        ("miou", "linear"): 49.0,
    }
    rows = {
        (row["task"], row["variant"]): (row["mean_ms"], row["n_ms"]) for row in document["rows"]
    }
    assert rows == {
        ("digits", "vpt"): (None, 0),
        ("digits", "linear"): (None, 0),
        ("scenes", "vpt"): (53.0, 2),
        ("scenes", "linear"): (49.5, 1),
    }
    narrowed = json.loads(str(Report(store, tasks=["digits", "scenes"]).render("json")))
    assert {row["of_tasks"] for row in narrowed["methods"]} == {1}


def test_a_table_without_several_scales_says_nothing_of_them(filler: Any):
    filler.results(filler.cell("vpt", "scenes", metric="miou", suite="mini-seg"), [50.0])
    text = board(filler.store, "md")
    assert "scenes mIoU-SS" in text
    assert "MS" not in text


def test_the_tidy_frame_has_both(store: Store):
    found = tidy(read(store))
    assert found["score_ms"].dropna().tolist() == [51.0, 55.0, 49.5]


@pytest.mark.parametrize("value", ["<b>", True, -1, 101, [1.0], None, {"a": 1}])
def test_what_isnt_a_score_in_somebodys_extras_is_none(store: Store, value: Any):
    for row in store.results():
        store.add_extras(row.id, {"miou_ms": value})
    assert "mIoU-MS" not in board(store, "md")


def test_the_page_has_a_column_for_several_scales_behind_the_tasks_own(store: Store):
    html = board(store, "html")
    assert (
        '"scales":[{"task":0,"title":"scenes'
        ' mIoU-MS","cells":[[53.0,"53.0","±2.8",1],[49.5,"49.5","n=1",2]]}]' in html
    )
    assert '"scales":[]' in html


PICTURES = {"image": "aW1hZ2U=", "truth": "dHJ1dGg=", "seen": "c2Vlbg=="}


def test_the_page_shows_a_strip_of_images_with_what_each_variant_saw(store: Store):
    assert '"strips":[]' in board(store, "html")
    first, *_ = [row for row in store.results() if row.score < 60]
    store.add_extras(first.id, {"strip": [{"row": 3, **PICTURES}, {"row": 1, **PICTURES}]})
    row = '["aW1hZ2U=","dHJ1dGg=","c2Vlbg==",null]'
    assert f'"strips":[{{"task":0,"rows":[{row},{row}]}}]' in board(store, "html")


@pytest.mark.parametrize(
    "strip",
    [
        "<img>",
        [{"row": 1}],
        [{"row": "1", **PICTURES}],
        [{"row": 1, **PICTURES, "seen": 'x" onerror=alert(1)'}],
        [[]],
        {"a": 1},
        [None],
    ],
)
def test_what_isnt_a_strip_of_pictures_is_left_out(store: Store, strip: Any):
    for row in store.results():
        store.add_extras(row.id, {"strip": strip})
    html = board(store, "html")
    assert '"strips":[]' in html
    assert "onerror" not in html
