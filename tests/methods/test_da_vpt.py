"""DA-VPT: the metric loss against loops, the map of classes, and what DA-VPT+ trains."""

import math
from typing import Any

import oracle
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from whole_runs import agrees_after_loading, final_run, frozen, train_split

from harness.backbones.vit import FrozenViT
from harness.errors import BadInput
from harness.planning.plan import plan
from harness.training.classification import ClassificationRecipe
from harness.training.heads import LinearHead, Model
from harness.training.recipe import new_optimizer
from methods import da_vpt
from methods.da_vpt import DAVPT
from methods.da_vpt_parts import ClassMap, anchor, clusters

IMAGES = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 3, 4, 1])
METRIC = {"patch_weight": 0.7, "cls_weight": 0.3}


def new(vit: VisionTransformer, **arguments: Any) -> DAVPT:
    torch.manual_seed(0)
    return DAVPT(frozen(vit), **{"prompts": 4, "proxies": 3, **arguments}).double().train()


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        for arguments, expected in (({}, 184_320), ({"plus": True}, 184_320 + 65_280 + 768)):
            own = DAVPT(frozen(VisionTransformer(num_classes=0)), **arguments).parameters()
            assert sum(p.numel() for p in own if p.requires_grad) == expected


@pytest.mark.parametrize("blocks", [1, 2, 9])
def test_prompts_start_in_an_eighth_of_xaviers_range(plain: VisionTransformer, blocks: int):
    prompts = new(plain, prompts=300, proxies=200, proxy_blocks=blocks).prompts
    last = min(blocks, 3)
    for index, own in enumerate(prompts):
        at_last = index >= 3 - last
        count, together = (200, last) if at_last else (300, 3 - last)
        bound = math.sqrt(6 / (24 * (count + together))) / 8
        assert own.shape == (count, 24)
        assert 0.98 * bound < own.abs().max() <= bound


def proxy_anchor(rows: Tensor, proxies: Tensor, mapped: list[int]) -> Tensor:
    """A(f), proxy by proxy and image by image."""
    total = torch.zeros((), dtype=rows.dtype)
    for index, proxy in enumerate(proxies):
        pulled, pushed = torch.ones(()), torch.ones(())
        for row, own in zip(rows, mapped, strict=True):
            similar = 5 * (row / row.norm()) @ (proxy / proxy.norm())
            if own == index:
                pulled = pulled + torch.exp(-32 * (similar - 0.1))
            else:
                pushed = pushed + torch.exp(32 * (similar + 0.1))
        total = total + (pulled.log() + pushed.log()) / len(proxies)
    return total


def test_a_proxy_without_images_is_in_the_mean():
    rows, proxies = torch.randn(4, 6).double(), torch.randn(3, 6).double()
    inside = torch.tensor([[1, 0, 0]] * 3 + [[0, 1, 0]]).bool()
    expected = proxy_anchor(rows, proxies, [0, 0, 0, 1])
    torch.testing.assert_close(anchor(rows, proxies, inside), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 2])
def test_forward_and_loss_by_their_definition(plain: VisionTransformer, blocks: int):
    """Values and gradients."""
    method = new(plain, proxy_blocks=blocks, **METRIC)
    head = LinearHead(method, 5).double()
    method.map = ClassMap(5, 3)
    method.map.mapped = torch.tensor([2, 0, 0, 1, 2])
    model = Model(method, head)
    logits = model(IMAGES)
    ours = nn.functional.cross_entropy(logits, LABELS) + method.penalty(LABELS, head)

    prompts = list(method.prompts)
    out = oracle.vpt_deep(plain, IMAGES, prompts)
    expected = oracle.pooled(plain, out) @ head.linear.weight.T + head.linear.bias
    theirs, before = nn.functional.cross_entropy(expected, LABELS), []
    for index in range(3 - blocks, 3):
        tokens = plain._pos_embed(plain.patch_embed(IMAGES))
        for block, own in zip(plain.blocks[:index], prompts, strict=False):
            tokens, _ = oracle.block(block, tokens, own)
        before.append(tokens)
        block: Any = plain.blocks[index]
        query = block.norm1(tokens[:, 0]) @ block.attn.qkv.weight[:24].T + block.attn.qkv.bias[:24]
        mapped = method.map.mapped[LABELS].tolist()
        patch = proxy_anchor(tokens[:, 1:].mean(1), prompts[index], mapped)
        theirs = theirs + (0.7 * patch + 0.3 * proxy_anchor(query, prompts[index], mapped)) / blocks
    torch.testing.assert_close(logits, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    leaves = [*prompts, head.linear.weight]
    for mine, other in zip(
        torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True
    ):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_the_penalty_doesnt_see_the_order_of_a_batch_and_is_none_with_weights_of_0(
    plain: VisionTransformer,
):
    found = []
    for order in (torch.arange(6), torch.tensor([3, 1, 5, 0, 2, 4])):
        method = new(plain, **METRIC)
        head = LinearHead(method, 5).double()
        Model(method, head)(IMAGES[order])
        found.append(method.penalty(LABELS[order], head))
    assert found[0] > 0.1
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    method = new(plain, patch_weight=0.0, cls_weight=0.0)
    Model(method, head := LinearHead(method, 5).double())(IMAGES)
    assert method.penalty(LABELS, head) == 0


def test_mae_is_pooled_as_released_the_mean_behind_the_norm(
    plain: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    torch.manual_seed(0)
    method = DAVPT(FrozenViT(plain, "vpt-mae"), prompts=4, proxies=3).double().eval()
    (tokens,) = method(IMAGES, method.vit.read())
    rows = oracle.vpt_deep(plain, IMAGES, list(method.prompts), keep_last=True)
    expected = torch.stack([oracle.with_own_norm(plain, rows[:, [0, n]]) for n in range(1, 20)])
    assert rows.shape[1] == 20  # CLS, three prompts, and the image
    torch.testing.assert_close(method.pool(tokens), expected.mean(0), rtol=1e-9, atol=1e-9)
    seen: list[Tensor] = []
    monkeypatch.setattr(ClassMap, "update", lambda _, features, labels: seen.append(features))
    with torch.no_grad():
        method.begin(train_split(IMAGES, LABELS, classes=5), nn.Identity())
    (found,) = seen
    alone = plain.forward_features(IMAGES)[:, 1:].mean(1)  # type: ignore[operator]
    torch.testing.assert_close(found, alone, rtol=1e-9, atol=1e-9)


def test_k_means_by_cosine():
    """Of two bundles of rays, from any two rows; a centre without rows stays."""
    axes = torch.eye(4)[:2]
    rows = torch.cat([axes[i] * s + 0.1 * torch.rand(1, 4) for i in (0, 1) for s in (1, 3, 9)])
    for first in (torch.tensor([0, 5]), torch.tensor([4, 1])):
        near, centres = clusters(rows, rows[first])
        assert near.tolist() in ([0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
        mean = torch.stack([rows[near == 0].mean(0), rows[near == 1].mean(0)])
        torch.testing.assert_close(centres, mean)
    far = -torch.ones(1, 4)
    near, centres = clusters(rows, torch.cat([rows[:1], far]))
    assert near.tolist() == [0] * 6
    assert torch.equal(centres[1:], far)


def test_begin_maps_classes_by_their_mean_features(plain: VisionTransformer):
    method = new(plain)
    labels = torch.tensor([0, 1, 2, 3, 4, 1])
    with torch.no_grad():
        method.eval().begin(train_split(IMAGES, labels, classes=7), nn.Identity())
        means = torch.zeros(7, 24).double()
        features = oracle.pooled(plain, oracle.vpt_deep(plain, IMAGES, [torch.empty(0, 24)] * 3))
        for label in range(5):
            means[label] = features[labels == label].mean(0)
    rows = nn.functional.layer_norm(means[:5], (24,))
    assert method.map is not None
    assert method.map.centres is not None
    assert len(method.map.centres) == 3
    nearest = torch.cosine_similarity(rows[:, None], method.map.centres, dim=2).argmax(1)
    assert method.map.mapped.tolist() == [*nearest.tolist(), 0, 0]  # two classes have no image
    assert len(set(nearest.tolist())) > 1


def test_with_no_more_classes_than_proxies_each_has_its_own(plain: VisionTransformer):
    method = new(plain, proxies=8)
    with torch.no_grad():
        method.eval().begin(train_split(IMAGES, LABELS, classes=5), nn.Identity())
    assert method.map is not None
    assert method.map.mapped.tolist() == [0, 1, 2, 3, 4]
    assert method.map.inside(LABELS).shape == (6, 5)


def test_from_epoch_10_on_classes_are_mapped_by_the_last_epochs_features(
    plain: VisionTransformer, monkeypatch: pytest.MonkeyPatch
):
    method, updates = new(plain), []
    head = LinearHead(method, 5).double()
    model = Model(method, head)
    with torch.no_grad():
        method.eval().begin(train_split(IMAGES, LABELS, classes=5), nn.Identity())
    monkeypatch.setattr(ClassMap, "update", lambda _, features, labels: updates.append(features))
    for number in range(13):
        method.epoch(number, 13)
        model.train()(IMAGES)
        method.penalty(LABELS, head)
        assert len(updates) == max(0, number - 10)
    expected = method.vit.pool(method(IMAGES, method.vit.read())[0])
    torch.testing.assert_close(updates[-1], expected, rtol=1e-12, atol=1e-12)


def test_where_all_fall_into_one_cluster_the_map_stays():
    own = ClassMap(4, 2)
    own.mapped = torch.tensor([0, 1, 1, 0])
    own.centres = torch.tensor([[1.0, -1.0, 0.0], [-9.0, 1.0, 8.0]])
    own.update(torch.tensor([[3.0, 1.0, 2.0]] * 4), torch.arange(4))
    assert own.mapped.tolist() == [0, 1, 1, 0]
    assert own.centres is None


def test_plus_trains_these_tensors_of_the_backbone_and_starts_from_it(plain: VisionTransformer):
    method, without = new(plain, plus=True), new(plain)
    (ours,), (theirs,) = (one.eval()(IMAGES, one.vit.read()) for one in (method, without))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    trained = {name for name, p in method.vit.named_parameters() if p.requires_grad}
    ends = (
        *("norm1.weight", "norm1.bias", "norm2.bias", "attn.proj.bias", "mlp.fc2.bias"),
        "attn.qkv.parametrizations.bias.0.own",
    )
    assert trained == {
        *("vit.cls_token", "vit.patch_embed.proj.bias"),
        *(f"vit.blocks.{i}.{end}" for i in range(3) for end in ends),
    }
    own = method.vit.vit.blocks[0].attn.qkv.parametrizations.bias[0].own  # type: ignore[union-attr,index]
    assert own.shape == (48,)
    with torch.no_grad():
        own.add_(1.0)
    before, after = plain.blocks[0].attn.qkv.bias, method.vit.vit.blocks[0].attn.qkv.bias  # type: ignore[union-attr]
    assert torch.equal(before[:24], after[:24])  # type: ignore[index]
    assert torch.equal(before[24:] + 1, after[24:])  # type: ignore[index]


def test_the_backbones_vectors_dont_decay_and_cls_does(plain: VisionTransformer):
    method = new(plain, plus=True)
    model = Model(method, LinearHead(method, 5))
    recipe = ClassificationRecipe(
        optimizer="adamw", base_lr=1.0, weight_decay=0.5, batch_size=8, epochs=2, warmup_epochs=1
    )
    decays = {
        id(tensor): group["weight_decay"]
        for group in new_optimizer(model, recipe).param_groups
        for tensor in group["params"]
    }
    for name, tensor in method.named_parameters():
        if tensor.requires_grad:
            spared = name.startswith("vit.") and name != "vit.vit.cls_token"
            assert decays[id(tensor)] == (0.0 if spared else 0.5), name


@pytest.mark.parametrize("plus", ["", ",plus=true"])
def test_a_final_run_and_its_checkpoint(tiny, plus: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(da_vpt, "RECLUSTER", 0)
    run = final_run(tiny, f"da-vpt(prompts=4,proxies=2,proxy_blocks=1{plus})")
    assert run.outcome.units == run.planned_units == 30 + 2 * 2 * 30 + 15
    assert run.outcome.curves is not None
    assert all(value > 0 for value in run.outcome.curves["metric"])
    assert agrees_after_loading(run)


def test_it_refuses_masks_and_a_backbone_without_cls(tiny):
    from segmentation import with_segmentation

    seg = with_segmentation(tiny)
    with pytest.raises(BadInput, match="da-vpt can't do segmentation"):
        plan(seg.request("da-vpt", tasks="halves"))
