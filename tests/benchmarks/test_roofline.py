"""The model of a step on a GPU: its operations against the closed form, its seconds against sums by
hand and what was measured."""

import json
from pathlib import Path

import pytest
import roofline
import torch
import train_step
from roofline import Card, Counts

from harness.planning.variants import one

SIMPLE = Card(tflops=1.0, bandwidth=1.0, sms=1, reached=1.0, streamed=1.0)


@pytest.fixture(scope="module")
def deep() -> Counts:
    return roofline.of_method(one("vpt-deep(prompts=10,dropout=0)"), roofline.CARDS["h200"])[0]


def test_a_steps_operations_are_those_of_the_closed_form(deep: Counts):
    batch, patches = roofline.BATCH, 2 * 196 * 768 * 768
    head = 3 * 2 * 768 * roofline.CLASSES
    computed_again = 2 * (11 * 197 + 1) * 207 * 768  # attention's first product, backward
    expected = train_step.flops(10, batch, ours=True) + patches + head + computed_again
    assert deep.flop / batch == pytest.approx(expected, rel=2e-3)


def test_the_measured_step_is_met_within_a_quarter(deep: Counts):
    rows = json.loads((Path(roofline.__file__).parent / "gpu.json").read_text())["rows"]
    (measured,) = [row["ours"]["device_ms"] for row in rows if row["p"] == 10]
    assert 0.75 < 1e3 * deep.seconds / measured < 1.33


def test_seconds_by_hand():
    one_, two = torch.zeros(128, 512), torch.zeros(512, 256)
    product = roofline.counted(lambda: one_ @ two, SIMPLE)
    casts = (4 + 2) * (128 * 512 + 512 * 256) / 1e9  # read as 4 bytes, written as 2
    assert product.kernels == 3
    assert product.memory == pytest.approx(casts)
    tile = 2 * 128 * 256 * (512 + roofline.INNER) / 1e12
    moved = 2 * (128 * 512 + 512 * 256 + 128 * 256) / 1e9
    assert product.products == pytest.approx(max(tile, moved))
    assert product.flop == 2 * 128 * 512 * 256
    few = roofline.counted(lambda: torch.zeros(3).view(3, 1).add_(1), SIMPLE)
    assert (few.kernels, few.seconds) == (2, 2 * roofline.KERNEL)
