"""A score on test images that were trained on is never without a word: in the table, Markdown,
LaTeX, the page, JSON and CSV."""

import json

import pytest
from made_up import cell, result
from rich.console import Console

from harness.reporting.report import Report
from harness.reporting.rows import read
from harness.reporting.tidy import tidy
from harness.store import Store

SEEN = (
    "Test images that are also in train or val, byte for byte: digits 30 of 30 (allowed by"
    " --allow-overlap), fashion 2 of 100 (as published)."
)


@pytest.fixture
def store():
    found = Store("sqlite://")
    allowed, published = (
        {"images": 30, "of": 30, "expected": 0},
        {"images": 2, "of": 100, "expected": 100},
    )
    for made in (
        cell(overlap=allowed),
        cell(task="fashion", overlap=published),
        cell(task="sprites"),
    ):
        found.add_cell(made)
        found.add_result(result(made, 0))
    yield found
    found.close()


@pytest.mark.parametrize("form", ["md", "html", "json", "latex"])
def test_every_document_says_it(store: Store, form: str):
    text = str(Report(store).render(form))
    plain = text.replace("\\-", "-").replace("\\_", "_").replace("{}", "")
    for part in (
        "Test images that are also in train or val, byte for byte: ",
        "30 of 30 (allowed by",
        "fashion 2 of 100 (as published)",
    ):
        assert part in plain or part in text, text[-3000:]


def test_the_table_says_it(store: Store):
    console = Console(width=400)
    with console.capture() as said:
        console.print(Report(store).render("table"))
    assert SEEN in said.get()


def test_the_csv_has_it_in_each_row(store: Store):
    rows = tidy(read(store))
    assert dict(zip(rows["task"], rows["overlap"], strict=True)) == {
        "digits": 30,
        "fashion": 2,
        "sprites": 0,
    }
    assert "overlap" in str(Report(store).render("csv")).splitlines()[0].split(",")
    assert all(
        type(row["overlap"]) is int for row in json.loads(str(Report(store).render("json")))["rows"]
    )


@pytest.mark.parametrize(
    "label",
    [
        None,
        3,
        "30",
        {},
        {"images": "30"},
        {"images": -1, "of": 2},
        {"images": True},
        {"images": [1], "of": {}},
    ],
)
def test_a_label_of_somebody_elses_is_no_reason_to_fail(label: object):
    found = Store("sqlite://")
    made = cell(overlap=label)
    found.add_cell(made)
    found.add_result(result(made, 0))
    (run,) = read(found).runs
    assert run.cell.overlap == 0
    assert "Test images" not in str(Report(found).render("md"))
    found.close()
