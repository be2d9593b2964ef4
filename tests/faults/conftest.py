"""What the tests of faults share: a protocol with a grid, whose rows an unbroken run must equal number by number."""

import pytest

GRID = """
title = "a small grid"
optimizer = "adamw"
epochs = 2
warmup_epochs = 1
batch_size = 8
seeds = [0, 1]
sampler = "grid"
score_every = 1
space = { base_lr = { choices = [1.0, 0.7, 0.5, 0.3, 0.2, 0.1] }, weight_decay = { choices = [0.0] } }
method_space = { prompts = { choices = [2, 4] } }
"""
"""12 points: `vpt-deep` and `ivpt` try each once, in this order."""


@pytest.fixture
def grid(tiny):
    tiny.protocol.write_text(GRID)
    return tiny
