"""Operations of methods on ViT-B/16, counted without being computed."""

import method_steps
import pytest

from harness.planning.variants import one

ATTENTION = (11 * 197 * 197 + 197) * 4 * 768 / 1e9
"""Scores and their sums of a forward pass, in GFLOP: eleven blocks, and one row of the last. Counts
that leave fused attention out lack it once, and twice more for the way back."""


@pytest.mark.parametrize(
    ("method", "passes", "without"),
    [("linear", 1, 31.4), ("full", 3, 93.9), ("bitfit", 3, 62.5)],
)
def test_a_step_costs_what_others_count_and_attention(method: str, passes: int, without: float):
    found = method_steps.counted(one(method))
    assert found["gflop"] - passes * ATTENTION == pytest.approx(without, abs=0.15)
    assert found["gflop_scored"] == pytest.approx(31.39 + ATTENTION, abs=0.02)
