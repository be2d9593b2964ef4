"""Batches' memory is used again only when nobody holds it."""

import pytest
import torch

from harness.data import buffers
from harness.data.buffers import floats


@pytest.fixture(autouse=True)
def _no_memory_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_POOL", [])


def test_what_is_held_is_never_handed_out_again():
    held = floats(2, 3).fill_(1.0)
    view = held[1:]
    del held
    other = floats(2, 3).fill_(2.0)
    assert torch.equal(view, torch.ones(1, 3))
    del view, other


def test_what_is_let_go_is_used_again_and_grows():
    first = floats(4, 5)
    place = first.data_ptr()
    del first
    smaller = floats(3, 2)
    assert smaller.data_ptr() == place
    assert smaller.shape == (3, 2)
    del smaller
    larger = floats(40, 50)
    assert (larger.shape, larger.dtype) == ((40, 50), torch.float32)
    assert len(buffers._POOL) == 1


def test_a_tensor_that_autograd_keeps_is_held():
    weight = torch.ones(3, requires_grad=True)
    batch = floats(3).fill_(2.0)
    loss = (batch * weight).sum()
    del batch
    floats(3).fill_(7.0)
    loss.backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0, 2.0, 2.0]
