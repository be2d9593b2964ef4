"""Numbers as they are shown."""

import pytest

from harness.reporting.display import (
    NOTHING,
    counted,
    duration,
    equals,
    interval_text,
    memory,
    probability,
    several,
    signed,
    span,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, NOTHING),
        (0, "0"),
        (960, "960"),
        (999.4, "999"),
        (999.5, "1k"),
        (9_600, "9.6k"),
        (46_080, "46.1k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (1_250_000, "1.25M"),
        (999_500_000, "1G"),
        (2_500_000_000, "2.5G"),
        (2_500_000_000_000, "2500G"),
    ],
)
def test_three_digits_of_a_count(value: float | None, text: str) -> None:
    assert counted(value) == text


def test_units_of_time_and_memory() -> None:
    times = {None: NOTHING, 2.5: "2.5 s", 89.96: "90 s", 96: "1.6 min", 5400: "1.5 h"}
    assert {value: duration(value) for value in times} == times
    sizes = {None: NOTHING, 640e6: "640 MB", 3.2e9: "3.20 GB"}
    assert {value: memory(value) for value in sizes} == sizes


def test_signs_intervals_and_ranges() -> None:
    assert [signed(value, 2) for value in (1.5, -1.5, None)] == ["+1.50", "\u22121.50", NOTHING]
    assert interval_text(61.25, 63.125, 1) == "[61.2, 63.1]"
    assert interval_text(-1, 2, 1, with_sign=True) == "[\u22121.0, +2.0]"
    assert interval_text(None, None, 2) == span(None) == several([]) == NOTHING
    assert (span((5, 5)), several([10, 5, 7])) == ("5", "5-10")


def test_probabilities() -> None:
    shown = {None: NOTHING, 0.0009: "< 0.001", 0.001: "0.0010", 0.0312: "0.031", 1.0: "1.0"}
    assert {p: probability(p) for p in shown} == shown
    assert (equals(0.0312), equals(1e-9)) == ("= 0.031", "< 0.001")
