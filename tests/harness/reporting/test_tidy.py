"""The frame that is given away."""

import math
from typing import Any

from harness.reporting.published.numbers import PublishedNumber
from harness.reporting.rows import read
from harness.reporting.tidy import COLUMNS, tidy
from harness.store import Store

SCORES = [81.25, 79.5, 84.125]


def test_the_tidy_frame_has_everything_and_says_where_it_is_from(filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    filler.results(key, SCORES)
    filler.failure(key, 3, "lost")
    published = [PublishedNumber("vpt", "ViT-B/16", "sup", "digits", "top1", 70.0, "a paper")]
    found: Any = tidy(read(filler.store), published)
    assert found.columns.tolist() == list(COLUMNS)
    assert found["origin"].tolist() == ["measured"] * 4 + ["published"]
    assert found["score"].tolist()[:3] == SCORES
    assert (found["reason"][3], found["seed"][3], math.isnan(found["score"][3])) == (
        "lost",
        3,
        True,
    )
    assert (
        found["score"][4],
        found["source"][4],
        found["variant"][4],
        found["seed"].isna()[4],
    ) == (70.0, "a paper", "vpt", True)
    assert found["superseded"].tolist()[:3] == [False] * 3
    assert found["superseded"].isna()[4]
    assert tidy(read(Store("sqlite://"))).empty


def test_rows_that_no_mean_counts_are_marked(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits", version="1"), [50.0, 51.0])
    filler.results(filler.cell("vpt", "digits", version="2"), [60.0])
    found: Any = tidy(read(filler.store))
    assert dict(zip(found["score"], found["superseded"], strict=True)) == {
        50.0: True,
        51.0: True,
        60.0: False,
    }
