"""Every family's forward: its features are timm's own, and prompts act as in timm's own blocks with
the prompts behind the image."""

import copy
from typing import Any

import pytest
import torch
from families import TINY, features, slow_features, tiny
from torch import Tensor, nn

from harness.backbones.changes import is_open
from harness.backbones.frozen import resize

FORMS = [
    *((name, "both") for name in TINY),
    *((name, form) for name in ("plain", "dinov3", "beit v2") for form in ("deep", "travelling")),
]


@pytest.mark.parametrize("name", TINY)
def test_features_are_timm_s_at_two_sides(name: str):
    vit = tiny(name)
    for side in (32, 48):
        sized = vit.at(side)
        images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
        own = copy.deepcopy(vit.vit)
        resize(own, side)
        expected = own.forward_head(own.forward_features(images), pre_logits=True)
        found = features(sized, images)
        assert found.shape == (2, vit.dim)
        assert float((found - expected).abs().max()) < 1e-5
        assert (sized.image_size, sized.grid) == (side, (side // 8, side // 8))


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_prompts_act_as_in_timm_s_own_blocks(name: str, form: str):
    vit = tiny(name).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    deep = torch.randn(2, 3, 24, dtype=torch.float64, requires_grad=True)
    first = torch.randn(4, 24, dtype=torch.float64, requires_grad=True)
    chosen = {"deep": (deep, None), "travelling": (None, first), "both": (deep, first)}[form]
    ours, slow = features(vit, images, *chosen), slow_features(vit, images, *chosen)
    assert apart(ours, slow) < 1e-9 < 1e-3 < apart(ours, features(vit, images))
    weights = torch.randn_like(ours)
    own = [one for one in chosen if one is not None]
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), own),
        torch.autograd.grad((slow * weights).sum(), own),
        strict=True,
    ):
        assert apart(mine, theirs) < 1e-9 < 1e-4 < float(theirs.abs().max())


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).detach().abs().max())


@pytest.mark.parametrize("name", ["dinov3", "eva-02", "mixed rope", "beit", "beit v2"])
def test_a_block_that_a_method_hooks_is_computed_as_timm_does(name: str):
    vit = tiny(name).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    deep = None if "beit" in name else torch.randn(2, 3, 24, dtype=torch.float64)
    before = features(vit, images, deep)
    seen: list[int] = []
    vit.blocks[0].attn.register_forward_hook(lambda module, given, out: seen.append(len(given)))
    assert not is_open(vit.blocks[0])
    assert apart(features(vit, images, deep), before) < 1e-9
    assert seen
    if "beit" in name:
        with pytest.raises(ValueError, match="no biases for prompts"):
            features(vit, images, torch.randn(2, 3, 24, dtype=torch.float64))


class Twice(nn.Module):
    each_token = True

    def __init__(self, linear: nn.Module):
        super().__init__()
        self.linear = linear

    def forward(self, tokens: Tensor) -> Tensor:
        return 2 * self.linear(tokens)


@pytest.mark.parametrize("name", ["dinov3", "eva", "beit v2"])
def test_a_map_that_a_method_wraps_is_called_and_has_its_biases(name: str):
    vit = tiny(name).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    before = features(vit, images)
    for block in vit.blocks:
        block.attn.qkv = Twice(block.attn.qkv)
    doubled = features(vit, images)
    with torch.no_grad():
        for block in vit.blocks:
            block.attn.qkv = block.attn.qkv.linear
            block.attn.qkv.weight *= 2
    assert apart(doubled, features(vit, images)) < 1e-9 < 1e-3 < apart(doubled, before)
    if name != "dinov3":  # which has no biases beside the map
        block = vit.blocks[0]
        block.attn.qkv = Twice(block.attn.qkv)
        block.register_forward_hook(lambda module, given, out: None)
        with pytest.raises(ValueError, match="would pass over what wraps its qkv"):
            features(vit, images)


@pytest.mark.parametrize("name", ["dinov3", "beit v2"])
def test_rows_without_their_places_are_refused(name: str):
    vit = tiny(name)
    tokens = vit.embed(torch.randn(1, 3, 32, 32))
    with pytest.raises(ValueError, match="needs all rows of CLS"):
        vit.block(0, tokens[:, :9])


@pytest.mark.parametrize("name", ["dinov3", "beit", "beit v2"])
def test_saliency_queries_temperature_and_keys_are_those_of_softmax_written_out(name: str):
    vit = tiny(name).double()
    tokens = vit.embed(torch.randn(2, 3, 32, 32, dtype=torch.float64))
    prompts = torch.randn(3, 24, dtype=torch.float64)
    heat = torch.tensor(0.7, dtype=torch.float64)
    block: Any = vit.blocks[1]

    def explicit(rows: Tensor, placed: bool) -> tuple[Tensor, Tensor]:
        """What block 1 makes of `rows`, over tokens, then prompts, and their weights."""
        q, k, v = projected(vit, rows, tokens, prompts, placed)
        logits = q @ k.mT * block.attn.scale + (biases(vit, len(prompts)) if placed else 0)
        weights = (logits / heat).softmax(-1)
        one, two = (1 if gamma is None else gamma for gamma in (block.gamma_1, block.gamma_2))
        out = rows + one * block.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        return out + two * block.mlp(block.norm2(out)), weights

    out, saliency = vit.block_and_saliency(1, tokens, prompts, temperature=heat)
    expected, weights = explicit(tokens, placed=True)
    assert apart(out, expected) < 1e-9
    image = slice(vit.prefix, vit.prefix + vit.image_tokens)
    assert apart(saliency, weights.mean(1)[:, 0, image]) < 1e-12
    queries = torch.randn(2, 24, dtype=torch.float64)
    _, asked = vit.block_and_queries(1, tokens, queries, prompts, temperature=heat)
    assert apart(asked, explicit(queries.expand(2, -1, -1), placed=False)[0]) < 1e-9
    k, v = vit.project(1, block.norm1(prompts[None]), "kv")
    assert apart(vit.block(1, tokens, kv=(k, v), temperature=heat), out) < 1e-9


def biases(vit: Any, more: int) -> Tensor | float:
    """Of block 1's pairs of places, and none for `more` keys."""
    if vit.family != "beit":
        return 0.0
    own: Any = vit.vit.rel_pos_bias or vit.blocks[1].attn
    found = own.relative_position_bias_table[own.relative_position_index].permute(2, 0, 1)
    return torch.cat([found, found.new_zeros(*found.shape[:2], more)], dim=-1)


def projected(
    vit: Any, rows: Tensor, tokens: Tensor, prompts: Tensor, placed: bool
) -> list[Tensor]:
    """Block 1's queries of `rows`, and keys and values of tokens, then prompts. Those of the image
    are turned by their places: pairs of values as complex numbers."""
    block = vit.blocks[1]
    attn = block.attn
    beside = [None] * 3 if attn.q_bias is None else [attn.q_bias, attn.k_bias, attn.v_bias]
    every = torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1)
    parts: list[Tensor] = []
    for part, given in enumerate((rows, every, every)):
        weight = attn.qkv.weight.chunk(3)[part]
        made = torch.nn.functional.linear(block.norm1(given), weight, beside[part])
        parts.append(made.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2).clone())
    if vit.family == "rope-vit":
        sines, cosines = vit.vit.rope.get_embed().chunk(2, -1)
        half = sines.shape[-1] // 2
        image = slice(vit.prefix, vit.prefix + vit.image_tokens)
        turn = torch.complex(cosines[:, :half], sines[:, :half])
        for part in parts[:2] if placed else parts[1:2]:
            pairs = torch.complex(part[:, :, image, :half], part[:, :, image, half:]) * turn
            part[:, :, image] = torch.cat([pairs.real, pairs.imag], dim=-1)
    return parts
