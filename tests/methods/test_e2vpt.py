"""E2VPT: its key-value prompts against an explicit softmax, and its pruning against a sweep of our
own."""

import math
from typing import Any

import oracle
import pytest
import torch
from in_process import outcomes
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from harness.backbones.frozen import Read
from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.cost import variant_cost
from harness.planning.plan import plan
from harness.training.heads import Model
from harness.training.method import trained_values
from harness.training.train_split import TrainSplit
from methods.e2vpt import E2VPT
from methods.vpt import VPTDeep

__all__ = ["seg"]
IMAGES = torch.randn(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
POINT = {"base_lr": 0.5, "weight_decay": 0.0}


def make(plain: VisionTransformer, **arguments: Any) -> E2VPT:
    torch.manual_seed(0)
    vit = FrozenViT(plain)
    return E2VPT(vit, **{"prompts": 5, "kv_prompts": 4, "dropout": 0.0, **arguments}).double()


def tokens_of(method: Any) -> Tensor:
    (tokens,) = method(IMAGES, Read((method.vit.depth - 1,), "image"))
    return tokens


def slow(plain: VisionTransformer, prompts: Any, keys: Any, values: Any) -> Tensor:
    """Image tokens of the last block, prompts and raw keys and values concatenated."""
    tokens = plain.norm_pre(plain._pos_embed(plain.patch_embed(IMAGES)))
    for block, own, k, v in zip(plain.blocks, prompts, keys, values, strict=True):
        tokens, _ = oracle.block(block, tokens, own, k, v)
    return tokens[:, 1:]


def gradients(tokens: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    weights = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(9)).to(tokens)
    return torch.autograd.grad((tokens * weights).sum(), leaves)


def test_parameter_counts_on_vit_b16():
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        assert trained_values(E2VPT(vit, prompts=10, kv_prompts=5)) == (138_240, 0)
        assert trained_values(E2VPT(vit, prompts=10, kv_prompts=5, prune=True)) == (138_240, 170)


def test_it_equals_an_explicit_softmax_in_values_and_gradients(plain: VisionTransformer):
    method = make(plain)
    assert method.kv is not None
    keys, values = (method.kv.detach().clone().requires_grad_() for _ in range(2))
    ours, theirs = tokens_of(method), slow(plain, method.prompts, keys, values)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    of_prompts, of_kv = gradients(ours, method.prompts, method.kv)
    prompts, of_keys, of_values = gradients(theirs, method.prompts, keys, values)
    torch.testing.assert_close(of_prompts, prompts, rtol=1e-9, atol=1e-9)
    # keys and values are one tensor: it learns from both
    assert of_keys.abs().max() > 1e-3
    torch.testing.assert_close(of_kv, of_keys + of_values, rtol=1e-9, atol=1e-9)


def test_without_key_value_prompts_it_is_vpt_deep(plain: VisionTransformer):
    method = make(plain, kv=False, dropout=0.1).train()
    torch.manual_seed(0)
    deep = VPTDeep(FrozenViT(plain), prompts=5, dropout=0.1).double().train()
    torch.manual_seed(1)
    ours = tokens_of(method)
    torch.manual_seed(1)
    assert torch.equal(ours, tokens_of(deep))


def test_key_value_prompts_start_kaiming_uniform(plain: VisionTransformer):
    for count in (50, 200):
        kv = make(plain, kv_prompts=count).kv
        assert kv is not None
        bound = math.sqrt(6 / (12 * count))
        assert kv.shape == (3, 2, count, 12)
        assert 0.98 * bound < kv.abs().max() <= bound
        assert abs(kv.std().item() - bound / math.sqrt(3)) < 0.02 * bound


def test_masks_of_ones_change_nothing_and_a_piece_is_every_16th_channel(plain: VisionTransformer):
    method, pruned = make(plain), make(plain, prune=True)
    assert torch.equal(tokens_of(method), tokens_of(pruned))
    pruned.piece_mask.data[1, 3] = 0.5
    pruned.prompt_mask.data[2] = 3.0
    method.prompts.data[:, 1, [3, 19]] *= 0.5
    method.prompts.data[:, 2] *= 3.0
    torch.testing.assert_close(tokens_of(pruned), tokens_of(method), rtol=1e-12, atol=1e-12)


def test_a_pruned_prompt_is_a_row_of_zeros_and_not_gone(plain: VisionTransformer):
    method = make(plain, prune=True)
    method.kept[1] = 0
    prompts = method.prompts.detach().clone()
    prompts[:, 1] = 0
    zeros = slow(plain, prompts, method.kv, method.kv)
    gone = slow(plain, prompts[:, [0, 2, 3, 4]], method.kv, method.kv)
    torch.testing.assert_close(tokens_of(method), zeros, rtol=1e-9, atol=1e-9)
    assert (zeros - gone).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("prompts", "share", "pruned"),
    [
        (10, 0.3, (3, 4)),
        (10, 0.7, (7, 11)),
        (10, 0.9, (9, 12)),
        (1, 0.9, (0, 12)),
        (5, 0.1, (0, 1)),
    ],
)
def test_one_prompt_and_four_pieces_stay(plain, prompts: int, share: float, pruned: tuple):
    method = make(plain, prompts=prompts, prune=True, prune_prompts=share, prune_pieces=share)
    assert method.pruned == pruned


def test_the_lowest_of_the_signed_gradients_are_pruned(plain: VisionTransformer):
    method = make(plain, prune=True, prune_prompts=0.4, prune_pieces=0.25, dropout=0.5)
    head = torch.nn.Linear(24, 3).double()
    labels = torch.tensor([0, 1, 2])

    def losses() -> Any:
        for index in ([0, 1], [2]):
            with torch.enable_grad():
                pooled = method.vit.pool(method(IMAGES[index], method.vit.read())[0])
                yield torch.nn.functional.cross_entropy(head(pooled), labels[index]), 1

    with torch.no_grad():
        method.begin(split(losses), head)
        first = [tensor.clone() for tensor in (*method.prompts, *head.parameters())]
        for tensor in (method.prompts, method.kv, method.piece_mask, *head.parameters()):
            assert tensor is not None
            tensor.add_(0.3 * torch.randn_like(tensor))
    method.train()

    method.eval()
    expected = [
        sum(torch.autograd.grad(loss, mask)[0] for loss, _ in losses())
        for mask in (method.prompt_mask, method.piece_mask)
    ]
    assert (expected[1] < 0).any()
    assert (expected[1] > 0).any()
    method.train()
    with torch.no_grad():
        method.advance(1, split(losses))
    kept = torch.ones(5, 16).double()
    for prompt in range(5):
        for _ in range(4):
            lowest = min(
                (j for j in range(16) if kept[prompt, j]), key=lambda j: expected[1][prompt, j]
            )
            kept[prompt, lowest] = 0
    for prompt in sorted(range(5), key=lambda i: expected[0][i])[:2]:
        kept[prompt] = 0
    assert torch.equal(method.kept, kept)
    # rewound, and the masks at rest
    rewound = (*method.prompts, *head.parameters())
    assert all(torch.equal(one, other) for one, other in zip(rewound, first, strict=True))
    for mask in (method.prompt_mask, method.piece_mask):
        assert (mask == 1).all()
        assert not mask.requires_grad


def split(losses: Any) -> TrainSplit:
    return TrainSplit(3, lambda rows: (rows, rows), losses, 0, 3, 3)


PRUNED = "e2vpt(prompts=4,kv_prompts=2,prune=true,prune_prompts=0.5,prune_pieces=0.5)"


def test_a_pruned_run_trains_twice_and_its_checkpoint_says_the_same(tiny):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found = plan(tiny.request(PRUNED))
    (cell,) = found.cells
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), POINT))
    assert outcome.score is not None
    assert outcome.units == variant_cost(cell.variant, cell.card, cell.protocol, 0, 1).units
    assert outcome.units == 2 * (2 * 2 * 30) + 2 * 30 + 15
    assert (outcome.trainable, outcome.train_only) == (4 * 4 * 96 + 4 * 2 * 96, 4 + 4 * 16)
    assert outcome.curves is not None
    assert outcome.curves["kept"] == [2 / 4 * 8 / 16] * 2
    assert isinstance(trainer.model, Model)
    (file,) = keep.folder.iterdir()
    origin, tensors = checkpoint.read(file)
    assert {"method.kept", "method.prompts", "method.kv"} <= set(tensors)
    assert not any("mask" in name for name in tensors)
    base = found.backbones[cell.backbone]
    loaded = tuned_model.rebuilt("a test", cell.variant, base, origin, tensors).model
    images = torch.rand(2, 3, base.vit.image_size, base.vit.image_size)
    expected = trainer.model.eval()(images)
    assert torch.equal(loaded.eval()(images), expected)
    assert loaded.method.kept.mean() == 0.25  # type: ignore[union-attr]


def test_it_segments_pruned_and_not(seg):
    found = plan(seg.request(f"e2vpt(prompts=2),{PRUNED}", "halves"))
    for cell in found.cells:
        trainer = Trainer(found, threads=1, raises=True)
        _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), {"base_lr": 0.5}))
        assert outcome.score is not None


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("e2vpt", {"prompts", "kv_prompts"}),
        ("e2vpt(kv=false)", {"prompts"}),
        ("e2vpt(prune=true)", {"prompts", "kv_prompts", "prune_prompts", "prune_pieces"}),
        ("e2vpt(prune=true,prune_pieces=0.5)", {"prompts", "kv_prompts", "prune_prompts"}),
    ],
)
def test_what_has_no_effect_is_not_searched(tiny, text: str, searched: set[str]):
    (cell,) = plan(tiny.request(text)).cells
    assert set(cell.space) - {"base_lr", "weight_decay"} == searched


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kv_prompts": 0}, r"write e2vpt\(kv=false\)"),
        ({"prune_prompts": 1.0}, "prune_prompts is the share that is pruned"),
        ({"prune_pieces": -0.1}, "prune_pieces is the share that is pruned"),
    ],
)
def test_arguments_without_sense_are_refused(plain, arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        make(plain, **arguments)
