"""BPT: against prompts that are multiplied out, and whitening against its definition."""

from typing import Any

import oracle
import pytest
import torch
from architectures import build
from in_process import outcomes
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness import TrainSplit
from harness.backbones.frozen import Pooling
from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.cost import variant_cost
from harness.planning.plan import plan
from harness.training.heads import LinearHead, Model
from methods.bpt import BPT, FLOOR, WhitenedBPT

__all__ = ["seg"]
IMAGES = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def make(vit: VisionTransformer, pooling: Pooling | None = None, **arguments) -> BPT:
    torch.manual_seed(0)
    pooling = pooling or ("cls" if vit.global_pool == "token" else "avg")
    return BPT(FrozenViT(vit, pooling), **{"prompts": 5, "rank": 3, **arguments}).double()


def tokens_of(method: torch.nn.Module, images: Tensor = IMAGES) -> Tensor:
    (tokens,) = method(images, method.vit.read())
    return tokens


def multiplied(method: BPT) -> list[Tensor]:
    """The prompts of each block, entry by entry."""
    return [
        torch.stack([sum(row[c] * b[c] for c in range(len(b))) for row in a])
        for a, b in zip(method.a, method.b, strict=True)
    ]


def slow(method: BPT, vit: VisionTransformer) -> Tensor:
    """Rows behind the last block: prefix, prompts, image."""
    prompts = multiplied(method)
    if method.deep:
        return oracle.vpt_deep(vit, IMAGES, prompts, keep_last=True)
    return oracle.vpt_shallow(vit, IMAGES, prompts[0], keep_last=True)


@pytest.mark.parametrize(
    ("method", "arguments", "expected"),
    [
        (BPT, {}, 65_100),
        (BPT, {"prompts": 50, "rank": 50, "deep": True}, 490_800),
        (WhitenedBPT, {}, 76_800),
        (WhitenedBPT, {"prompts": 50, "deep": True}, 460_800),
    ],
)
def test_parameter_counts_on_vit_b16(method: type[BPT], arguments: dict, expected: int):
    with torch.device("meta"):
        built = method(FrozenViT(VisionTransformer(num_classes=0)), **arguments)
    assert sum(p.numel() for p in built.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("backbone", ["plain", "registers", "average-without-cls"])
def test_it_equals_the_slow_form_in_values_and_gradients(backbone: str, deep: bool):
    vit = build(backbone)
    method = make(vit, deep=deep)
    expected = slow(method, vit)
    start = vit.num_prefix_tokens + 5
    agree(
        method,
        tokens_of(method),
        expected[:, :1] if method.vit.pooling == "cls" else expected[:, start:],
    )


@pytest.mark.parametrize("deep", [False, True])
def test_mae_is_pooled_as_released_the_norm_behind_the_mean(plain: VisionTransformer, deep: bool):
    method = make(plain, "vpt-mae", deep=deep)
    model = Model(method, LinearHead(method, 3)).double()
    features = oracle.with_own_norm(plain, slow(method, plain))
    agree(method, model(IMAGES), model.head.linear(features))


def agree(method: BPT, ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    weights = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), [method.a, method.b]),
        torch.autograd.grad((theirs * weights).sum(), [method.a, method.b]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_prompts_are_of_the_rank_that_is_asked_for_at_most(plain: VisionTransformer):
    for prompts, rank in ((10, 3), (2, 5)):
        made = torch.stack(multiplied(make(plain, prompts=prompts, rank=rank, deep=True)))
        assert torch.linalg.matrix_rank(made).tolist() == [min(prompts, rank)] * 3


def test_factors_start_as_released(plain: VisionTransformer):
    method = make(plain, prompts=200, rank=40, deep=True)
    assert method.a.std().item() == pytest.approx(0.02, rel=0.03)
    bound = (6 / (40 + 24)) ** 0.5
    assert method.b.abs().max().item() <= bound
    assert method.b.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert not torch.equal(method.b[0], method.b[1])


def test_products_are_of_full_precision_under_autocast(plain: VisionTransformer):
    method, seen = make(plain, deep=True).float(), []
    run = method.vit.run
    method.vit.run = lambda tokens, read, prompts: (
        seen.extend(prompts) or run(tokens, read, prompts)
    )
    with torch.autocast("cpu", torch.bfloat16):
        tokens_of(method, IMAGES.float())
    assert {one.dtype for one in seen} == {torch.float32}


def test_a_rank_of_0_is_refused(plain: VisionTransformer):
    with pytest.raises(ValueError, match="bpt's rank is at least 1"):
        make(plain, rank=0)


def begun(vit: VisionTransformer, images: Tensor, at_once: int = 4, **arguments) -> WhitenedBPT:
    pooling = "cls" if vit.global_pool == "token" else "avg"
    method = WhitenedBPT(FrozenViT(vit, pooling), **{"prompts": 5, **arguments}).double().eval()
    labels = torch.zeros(len(images), dtype=torch.long)
    train = TrainSplit(
        len(images), lambda rows: (images[rows], labels[rows]), lambda: iter(()), 0, at_once, 3
    )
    with torch.no_grad():
        method.begin(train, nn.Identity())
    assert method.vit.embedded == train.given == len(images)
    return method


def asked(vit: VisionTransformer, images: Tensor) -> list[Tensor]:
    """Of each block, z = W_q W_k^T x for every image token x before it: (token, dim)."""
    found: list[Tensor] = []

    def look(block: Any, inputs: tuple[Tensor, ...]) -> None:
        q, k, _ = block.attn.qkv.weight.chunk(3)
        rows = inputs[0][:, vit.num_prefix_tokens :].flatten(0, 1)
        found.append(torch.stack([q.T @ (k @ row) for row in rows]))

    hooks = [block.register_forward_pre_hook(look) for block in vit.blocks]
    with torch.no_grad():
        vit.forward_features(images)
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("backbone", ["plain", "registers"])
def test_what_whitened_prompts_are_asked_is_white(backbone: str, deep: bool):
    images = torch.randn(10, 3, 16, 16, dtype=torch.float64)
    vit = build(backbone)
    method = begun(vit, images, deep=deep)
    assert method.b.shape == (3 if deep else 1, 24, 24)
    for matrix, z in zip(method.b, asked(vit, images), strict=False):
        torch.testing.assert_close(matrix, matrix.T)
        white = z @ matrix
        moment = white.T @ white / len(z)
        # in all directions but those that hardly occur
        _, sizes, directions = torch.linalg.svd(z, full_matrices=False)
        shares = (sizes / sizes[0]).square()
        expected = (shares / FLOOR).clamp(max=1)
        assert (expected == 1).sum() >= 23
        torch.testing.assert_close(
            directions @ moment @ directions.T, expected.diag(), rtol=0, atol=1e-6
        )
        logits = (method.a[0] @ matrix) @ z.T
        torch.testing.assert_close(logits, method.a[0] @ white.T)


def test_whitening_is_the_same_in_any_batches(plain: VisionTransformer):
    images = torch.randn(7, 3, 16, 16, dtype=torch.float64)
    one, other = (begun(plain, images, at_once, deep=True) for at_once in (2, 7))
    torch.testing.assert_close(one.b, other.b, rtol=1e-6, atol=1e-9)


def test_too_few_tokens_leave_whitening_finite(plain: VisionTransformer):
    """16 tokens of one image span 16 of 24 dimensions."""
    method = begun(plain, torch.randn(1, 3, 16, 16, dtype=torch.float64))
    (z,) = asked(plain, torch.randn(1, 3, 16, 16, dtype=torch.float64))[:1]
    assert z.shape == (16, 24)
    values = torch.linalg.eigvalsh(method.b[0])
    assert (values[-1] / values[0]).item() == pytest.approx(FLOOR**-0.5, rel=1e-6)
    assert (values > 0.999 * values[-1]).sum() >= 24 - 16


@pytest.mark.parametrize("name", ["bpt-whitened", "bpt-whitened(deep=true)"])
def test_a_final_run_keeps_its_whitening(tiny, name: str):
    point = {"base_lr": 0.5, "weight_decay": 0.01, "head_weight_decay": 0.1, "prompts": 4}
    found = plan(tiny.request(name))
    (cell,) = found.cells
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), point))
    assert outcome.units == 30 + 2 * 2 * 30 + 15
    assert outcome.units == variant_cost(cell.variant, cell.card, cell.protocol, 0, 1).units
    assert isinstance(trainer.model, Model)
    (file,) = keep.folder.iterdir()
    base = found.backbones[cell.backbone]
    tuned = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(file))
    ours, theirs = trainer.model.method, tuned.model.method
    assert isinstance(ours, WhitenedBPT)
    assert torch.equal(ours.b, theirs.b)
    assert not torch.equal(ours.b[0], torch.eye(96))
    images = torch.randn(2, 3, base.vit.image_size, base.vit.image_size)
    with torch.inference_mode():
        assert torch.equal(trainer.model.eval()(images), tuned.model.eval()(images))


def test_it_is_planned_for_segmentation(seg):
    for name in ("bpt", "bpt-whitened(deep=true)"):
        assert plan(seg.request(name, tasks="halves")).cells
