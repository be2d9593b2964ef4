"""Classification's head: its initial weights."""

import math

import pytest
import torch

from harness.backbones.vit import FrozenViT
from harness.training.heads import HeadInit, LinearHead
from harness.training.method import Method


class Wide:
    """As much of a ViT as a head looks at."""

    dim = 768
    pool = None

    def read(self) -> None:
        return None


@pytest.mark.parametrize("classes", [2, 10, 100, 397])
@pytest.mark.usefixtures("unchecked")
def test_its_weights_start_as_vpts_do_or_smaller(classes: int):
    """Kaiming normal, fan out, gain sqrt(2): a standard deviation of sqrt(2 / classes). Xavier
    uniform: sqrt(2 / (768 + classes))."""
    vit: FrozenViT = Wide()  # type: ignore[assignment]
    expected: dict[HeadInit, float] = {
        "kaiming_normal": math.sqrt(2 / classes),
        "xavier_uniform": math.sqrt(2 / (768 + classes)),
    }
    for init, std in expected.items():
        torch.manual_seed(0)
        head = LinearHead(Method(vit), classes, init)
        assert head.linear.weight.std().item() == pytest.approx(std, rel=0.06)
        largest = head.linear.weight.abs().max().item()
        assert (largest < math.sqrt(6 / (768 + classes))) == (init == "xavier_uniform")
        assert not head.linear.bias.any()
