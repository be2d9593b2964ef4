"""What methods may do inside a block, against an explicit softmax: raw keys and values, rows that
only ask, a temperature; and a block taken in halves."""

import oracle
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT

IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
DIM, HEADS = 24, 2


def drawn(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def frozen(plain: VisionTransformer) -> FrozenViT:
    return FrozenViT(plain)


def agree(ours: Tensor, theirs: Tensor, *leaves: Tensor) -> None:
    """Values, and gradients of the same random sum of them."""
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = drawn(*ours.shape, seed=9)
    for mine, other in zip(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((theirs * weights).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_prompts", [False, True])
def test_raw_keys_and_values_join_behind_the_projection(frozen: FrozenViT, with_prompts: bool):
    keys, values = (drawn(HEADS, 5, 12, seed=s).requires_grad_() for s in (1, 2))
    prompts = drawn(4, DIM, seed=3) if with_prompts else None
    tokens = frozen.embed(IMAGES)
    ours = frozen.block(1, tokens, prompts, kv=(keys, values))
    theirs, _ = oracle.block(frozen.vit.blocks[1], tokens, prompts, keys, values)
    agree(ours, theirs, keys, values)


def test_one_tensor_may_be_keys_and_values(frozen: FrozenViT):
    both = drawn(HEADS, 3, 12).requires_grad_()
    tokens = frozen.embed(IMAGES)
    theirs, _ = oracle.block(frozen.vit.blocks[0], tokens, keys=both, values=both)
    agree(frozen.block(0, tokens, kv=(both, both)), theirs, both)


def test_keys_and_values_may_differ_by_image_and_rows_be_few(frozen: FrozenViT):
    keys, values = (drawn(3, HEADS, 2, 12, seed=s).requires_grad_() for s in (1, 2))
    tokens = frozen.embed(IMAGES)
    ours = frozen.block(2, tokens, rows=slice(0, 1), kv=(keys, values))
    theirs = torch.cat(
        [
            oracle.block(frozen.vit.blocks[2], tokens[i : i + 1], None, keys[i], values[i])[0]
            for i in range(3)
        ]
    )
    agree(ours, theirs[:, :1], keys, values)


def test_a_run_gives_each_block_its_own(frozen: FrozenViT):
    kv = [(drawn(HEADS, 2, 12, seed=s), drawn(HEADS, 2, 12, seed=s + 9)) for s in range(3)]
    prompts = drawn(3, 4, DIM)
    (ours,) = frozen.run(frozen.embed(IMAGES), Read((2,), "cls"), list(prompts), kv)
    tokens = frozen.embed(IMAGES)
    for block, own, (keys, values) in zip(frozen.vit.blocks, prompts, kv, strict=True):
        tokens, _ = oracle.block(block, tokens, own, keys, values)
    torch.testing.assert_close(ours, tokens[:, :1], rtol=1e-9, atol=1e-9)


def test_the_temperature_divides_the_logits_of_all_rows(frozen: FrozenViT):
    temperature, prompts = drawn().abs().add(0.5).requires_grad_(), drawn(4, DIM, seed=3)
    tokens = frozen.embed(IMAGES)
    theirs, _ = oracle.block(frozen.vit.blocks[1], tokens, prompts, temperature=temperature)
    agree(frozen.block(1, tokens, prompts, temperature=temperature), theirs, temperature)
    out, saliency = frozen.block_and_saliency(1, tokens, prompts, temperature=temperature)
    torch.testing.assert_close(out, theirs, rtol=1e-9, atol=1e-9)
    (q,) = frozen.project(1, frozen.vit.blocks[1].norm1(tokens[:, :1]), "q")  # type: ignore[operator]
    joined = torch.cat([tokens, prompts.expand(3, -1, -1)], dim=1)
    (k,) = frozen.project(1, frozen.vit.blocks[1].norm1(joined), "k")  # type: ignore[operator]
    expected = (q @ k.transpose(2, 3) / (12**0.5 * temperature)).softmax(-1).mean(1)[:, 0, 1:17]
    torch.testing.assert_close(saliency, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_prompts", [False, True])
def test_queries_see_the_tokens_and_not_one_another(frozen: FrozenViT, with_prompts: bool):
    queries = drawn(3, DIM).requires_grad_()
    prompts = drawn(4, DIM, seed=3) if with_prompts else None
    tokens = frozen.embed(IMAGES)
    out, asked = frozen.block_and_queries(1, tokens, queries, prompts)
    expected, theirs = oracle.block(frozen.vit.blocks[1], tokens, prompts, queries=queries)
    assert theirs is not None
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    agree(asked, theirs, queries)
    assert not out.requires_grad  # nothing of the image's rows is kept for a backward pass
    assert torch.equal(out, frozen.block(1, tokens, prompts))
    alone = frozen.block_and_queries(1, tokens, queries[1:2], prompts)[1]
    torch.testing.assert_close(asked[:, 1:2], alone, rtol=1e-12, atol=1e-12)


def test_halves_make_a_block(frozen: FrozenViT):
    tokens, prompts = frozen.embed(IMAGES), drawn(4, DIM)
    kv = drawn(HEADS, 2, 12), drawn(HEADS, 2, 12, seed=1)
    for rows in (slice(None), slice(0, 1)):
        halves = frozen.feed(1, frozen.attend(1, tokens, prompts, rows, kv))
        assert torch.equal(halves, frozen.block(1, tokens, prompts, rows, kv))


def test_projections_and_mixing_make_attention(frozen: FrozenViT):
    tokens, block = frozen.embed(IMAGES), frozen.vit.blocks[1]
    q, k, v = frozen.project(1, block.norm1(tokens), "qkv")  # type: ignore[operator]
    assert torch.equal(tokens + block.ls1(frozen.mix(1, q, k, v)), frozen.attend(1, tokens))  # type: ignore[operator]
    assert torch.equal(frozen.project(1, tokens, "v")[0], frozen.project(1, tokens, "kv")[1])


def test_a_changed_block_says_what_it_cant_be_given(frozen: FrozenViT):
    class Scaled(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return 2 * tokens

    frozen.vit.blocks[1].mlp = Scaled().double()
    tokens, kv = frozen.embed(IMAGES), (drawn(HEADS, 2, 12), drawn(HEADS, 2, 12))
    for use, said in {
        lambda: frozen.attend(1, tokens): "can't be taken in halves",
        lambda: frozen.feed(1, tokens): "can't be taken in halves",
        lambda: frozen.block(1, tokens, kv=kv): "keys and values",
        lambda: frozen.block(1, tokens, temperature=drawn()): "temperature",
        lambda: frozen.block_and_queries(1, tokens, drawn(2, DIM)): "rows that only ask",
    }.items():
        with pytest.raises(ValueError, match=f"its mlp is Scaled.*{said}"):
            use()
