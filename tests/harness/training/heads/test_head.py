"""What all heads share: they compute in float32 under autocast, and as if nothing were about it
without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from families import tiny
from torch import Tensor

from harness.planning.variants import one
from harness.training.classification import Classification
from harness.training.heads import Head, LinearHead, Model, SetrPup
from harness.training.method import Method
from harness.training.step import loss_of

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
HEADS: dict[str, Callable[[Method], Head]] = {
    "linear": lambda method: LinearHead(method, 5),
    "setr-pup": lambda method: SetrPup(method.vit, 5),
}


def model_of(head: str, backbone: str = "plain", method: str = "vpt-deep(prompts=3)") -> Model:
    torch.manual_seed(0)
    built = one(method).build(tiny(backbone), {})
    return Model(built, HEADS[head](built))


def by_its_layers(head: Head, tokens: list[Tensor], half: bool) -> list[Tensor]:
    """What a head's own layers make of tokens in float32; `half`: with features as autocast has
    them."""
    if isinstance(head, LinearHead):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = head.pool[0](tokens[-1])
        return [F.linear(features.float(), head.linear.weight, head.linear.bias)]
    assert isinstance(head, SetrPup)
    if not head.training:
        return [head.fitted(head.main(tokens[-1]))]
    ups = [head.main, *head.auxiliary]
    return [head.fitted(up(rows)) for up, rows in zip(ups, [tokens[-1], *tokens[:-1]], strict=True)]


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("head", "backbone"), [("linear", "plain"), ("linear", "siglip"), ("setr-pup", "plain")]
)
def test_scores_are_those_of_float32_to_the_bit(
    head: str, backbone: str, training: bool, half: bool
):
    model, read = model_of(head, backbone).train(training), list[list[Tensor]]()
    model.head.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        given = model(IMAGES)
    (tokens,) = read
    expected = by_its_layers(model.head, tokens, half)
    for scores, own in zip(
        given if training and head != "linear" else [given], expected, strict=True
    ):
        assert scores.dtype == torch.float32
        assert torch.equal(scores, own)


@pytest.mark.parametrize("head", HEADS)
def test_tokens_of_half_precision_are_read_in_the_heads_own(head: str):
    """As a ResNet gives them under autocast."""
    model = model_of(head).eval()
    tokens = [torch.randn(4, 17 if head == "linear" else 16, 24).bfloat16()]
    scores = model.head(tokens)
    assert torch.equal(scores, by_its_layers(model.head, [tokens[0].float()], False)[0])
    assert model.double().head(tokens).dtype == torch.float64


def test_no_two_classes_of_an_image_are_tied():
    head = LinearHead(one("linear()").build(tiny("plain"), {}), 100)
    tokens = torch.randn(256, 17, 24)
    with torch.autocast("cpu", torch.bfloat16):
        scores = head([tokens])
    first, second = scores.topk(2).values.T
    assert (first > second).all()
    first, second = scores.bfloat16().topk(2).values.T
    assert (first == second).sum() > 4


def test_a_head_on_a_device_without_autocast_computes_as_it_is():
    model = model_of("linear").to("meta")
    assert model(IMAGES.to("meta")).shape == (4, 5)


def test_a_penalty_that_reads_the_head_does_so_in_float32():
    model, labels = model_of("linear", method="sa2vp()").train(), torch.tensor([0, 1, 2, 3])
    given: list[Tensor] = []

    def keep(head: object, tokens: object, scores: Any) -> None:
        given.append(scores)

    model.head.register_forward_hook(keep)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(Classification(), model, IMAGES, labels)
    assert [scores.dtype for scores in given] == [torch.float32] * 3
    loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    assert loss.dtype == torch.float32
