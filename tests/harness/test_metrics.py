"""Top-1: exact, over images and not over classes."""

import torch

from harness.metrics import top1


def test_top1_is_hits_over_images():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 2.0], [5.0, 1.0, 2.0]])
    assert top1(logits, torch.tensor([0, 1, 2, 1])) == 75.0
    assert top1(logits, torch.tensor([0, 0, 0, 0])) == 50.0


def test_ties_and_exactness():
    logits = torch.eye(3).repeat(100, 1)
    labels = torch.arange(3).repeat(100)
    labels[:87] = (labels[:87] + 1) % 3
    assert top1(logits, labels) == 100 * 213 / 300
