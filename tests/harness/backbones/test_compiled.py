"""Compiled halves of blocks: the same numbers, one graph a shape, and as they are where compiling
fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from harness.backbones import compiled
from harness.backbones.vit import FrozenViT
from harness.training.heads import LinearHead, Model
from methods.vpt import VPTDeep

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    # torch's own, as it looks at what it compiles
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
]


@contextmanager
def compiling() -> Iterator[None]:
    compiled.switch(True)
    try:
        yield
    finally:
        compiled.switch(False)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Compiles by tracing alone, and counts the graphs."""
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(compiled, "BACKEND", counter)
    compiled._compiled.cache_clear()
    torch._dynamo.reset()
    yield counter
    compiled._compiled.cache_clear()
    torch._dynamo.reset()


def model_of(prompts: int, depth: int = 3) -> Model:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=12, depth=depth, num_heads=2, num_classes=0
    )
    method = VPTDeep(FrozenViT(vit.eval().double()), prompts=prompts, dropout=0.0)
    return Model(method, LinearHead(method, 3)).double().train()


def gradients(model: Model, images: Tensor) -> list[Tensor]:
    model.zero_grad()
    logits = model(images)
    torch.nn.functional.cross_entropy(logits, torch.arange(len(images)) % 3).backward()
    found = [one.grad for one in model.parameters() if one.requires_grad]
    return [logits, *(one for one in found if one is not None)]


def test_a_step_is_the_same_and_its_graphs_are_those_of_its_shapes(counter: Any):
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    for prompts, depth in ((2, 3), (5, 3), (2, 5)):
        model = model_of(prompts, depth)
        expected = gradients(model, images)
        with compiling():
            found = gradients(model, images)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert counter.frame_count == 2  # of all rows, and of the last block's one
    with compiling(), torch.no_grad():
        model.eval()(images[:3])
    assert counter.frame_count == 2


def test_what_cant_be_compiled_is_said_and_computed_as_it_is(monkeypatch: pytest.MonkeyPatch):
    def broken(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(compiled, "BACKEND", broken)
    monkeypatch.setattr(compiled, "_failed", set())
    compiled._compiled.cache_clear()
    model, images = model_of(2), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = gradients(model, images)
    with (
        compiling(),
        pytest.warns(UserWarning, match="computed as they are, not compiled: .*no compiler here"),
    ):
        found = gradients(model, images)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    compiled._compiled.cache_clear()
