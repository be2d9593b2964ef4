"""PAE: where prompts come from, by loops; what keeps them in step; and how it sits on its bases."""

import math
from itertools import pairwise
from typing import Any

import oracle
import pytest
import torch
from segmentation import seg
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from whole_runs import agrees_after_loading, final_run, frozen, train_split

from harness.training.heads import LinearHead, Model
from harness.training.method import trained_values
from methods import pae
from methods.pae import BASES, PAE
from methods.pae_parts import KLD, Window, seen_through, spectrum, windows

__all__ = ["seg"]
IMAGES = torch.randn(6, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(6) % 3


def new(vit: VisionTransformer, **arguments: Any) -> PAE:
    torch.manual_seed(0)
    return PAE(frozen(vit), **{"prompts": 4, "dropout": 0.0, **arguments}).double().train()


def test_parameter_counts_on_vit_b16():
    """Of the sheet's 524,288 that only training needs, the map back of 196,608 isn't here: no loss
    reads it."""
    with torch.device("meta"):
        method = PAE(frozen(VisionTransformer(num_classes=0)))
    assert trained_values(method) == (184_320, 327_680)


def test_windows_are_16_wide_at_stride_8_for_224_pixels():
    found = windows(224)
    assert len(found) == 729
    assert found[0] == (slice(0, 16), slice(0, 16))
    assert found[1] == (slice(0, 16), slice(8, 24))
    assert found[-1] == (slice(208, 224), slice(208, 224))
    for side in (16, 28, 32, 64, 96, 384):
        own = windows(side)
        assert len(own) <= 729
        assert max(rows.stop for rows, _ in own) <= side


def waves(image: Tensor, rows: range, columns: range) -> Tensor:
    """The part of an image that is made of some waves of its shifted spectrum, wave by wave."""
    _, height, width = image.shape
    ys, xs = torch.arange(height).double(), torch.arange(width).double()
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    total = torch.zeros(image.shape, dtype=torch.complex128)
    for row in rows:
        for column in columns:
            turn = (
                2j
                * math.pi
                * ((row - height // 2) * y / height + (column - width // 2) * x / width)
            )
            wave = torch.exp(turn)
            share = (image * wave.conj()).sum((1, 2)) / (height * width)
            total += share[:, None, None] * wave
    return total.real


def test_what_is_seen_through_a_window_is_a_sum_of_waves():
    window = (slice(6, 9), slice(2, 5))
    ours = seen_through(window, spectrum(IMAGES))
    for image, other in zip(IMAGES, ours, strict=True):
        torch.testing.assert_close(other, waves(image, range(6, 9), range(2, 5)))
    torch.testing.assert_close(seen_through((slice(0, 16), slice(0, 16)), spectrum(IMAGES)), IMAGES)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 20th window, to be quick."""
    monkeypatch.setattr(pae, "windows", few_windows)


def few_windows(side: int) -> list[Window]:
    return windows(side)[::20]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("at_once", [256, 4])
def test_prompts_are_of_the_windows_with_the_lowest_loss(plain: VisionTransformer, at_once: int):
    method = new(plain)
    head = LinearHead(method, 3).double()
    with torch.no_grad():
        method.eval().begin(train_split(IMAGES, LABELS, at_once), head)
        losses, tokens = [], []
        for rows, columns in few_windows(16):
            kept = torch.stack([waves(image, *spans(rows, columns)) for image in IMAGES])
            out = oracle.vpt_deep(plain, kept, [torch.zeros(4, 24).double()] * 3)
            logits = head.linear(oracle.pooled(plain, out))
            losses.append(nn.functional.cross_entropy(logits, LABELS).item())
            patches = plain._pos_embed(plain.patch_embed(kept))[:, 1:].flatten(0, 1)
            energies = torch.stack([(patch * patch).sum() for patch in patches])
            tokens.append((energies[:, None] / energies.sum() * patches).sum(0))
        best = sorted(range(len(losses)), key=losses.__getitem__)[:4]
        expected = torch.stack([tokens[window] for window in best])
        for own, block in zip(method.base.prompts, plain.blocks, strict=True):
            torch.testing.assert_close(own, expected, rtol=1e-9, atol=1e-9)
            expected = block(expected[None])[0]


def spans(*slices: slice) -> list[range]:
    return [range(own.start, own.stop) for own in slices]


def by_definition(kld: KLD, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Both sums, prompt by prompt; 1e-8 in the denominators as released."""
    q = kld.l.T @ kld.l
    q = q / (torch.linalg.svdvals(q)[0] + 1e-8)
    consistency = stability = torch.zeros((), dtype=prompts.dtype)
    for own, following in pairwise(prompts[1:]):
        differences, rises = [], []
        for row, other in zip(own, following, strict=True):
            z, goal = kld.u.weight @ row, kld.u.weight @ other
            ahead = z @ kld.k
            differences.append((ahead - goal).square())
            values = [one / max(1, one.norm() + 1e-8) for one in (z, ahead)]
            before, after = (one @ q @ one for one in values)
            rises.append(torch.log(1 + torch.exp(after - before)))
        consistency = consistency + torch.stack(differences).mean()
        stability = stability + 10 * torch.tanh(torch.stack(rises).mean() / 10)
    return consistency, stability


def test_both_losses_by_their_definition():
    """Values and gradients; the first block's prompts aren't in them."""
    torch.manual_seed(0)
    kld, prompts = KLD(24, lifted=6).double(), torch.randn(5, 3, 24).double().requires_grad_()
    with torch.no_grad():
        kld.k.add_(0.3 * torch.randn(6, 6))
        kld.l.add_(0.3 * torch.randn(6, 6))
    for ours, theirs in zip(kld(prompts), by_definition(kld, prompts), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        leaves = [prompts, *kld.parameters()]
        pairs = [
            torch.autograd.grad(one, leaves, retain_graph=True, materialize_grads=True)
            for one in (ours, theirs)
        ]
        for mine, other in zip(*pairs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)
        assert (pairs[0][0][0] == 0).all()
        assert (pairs[0][0][1:] != 0).any()


def test_prompts_that_dont_change_from_block_to_block_cost_log_2_a_pair():
    kld = KLD(24, lifted=24).double()
    nn.init.orthogonal_(kld.u.weight)
    consistency, stability = kld(torch.randn(1, 3, 24).double().expand(12, -1, -1))
    assert consistency.item() == pytest.approx(0.0, abs=1e-12)
    assert stability.item() == pytest.approx(10 * 10 * math.tanh(math.log(2) / 10))


def test_the_penalty_has_no_labels_and_reaches_prompts_and_maps(plain: VisionTransformer):
    method = new(plain, koopman_weight=0.7, lyapunov_weight=0.3)
    head = LinearHead(method, 3).double()
    Model(method, head)(IMAGES)
    ours, other = (method.penalty(labels, head) for labels in (LABELS, LABELS.flip(0)))
    assert ours is not None
    assert ours == other
    assert method.kld is not None
    first, second = method.kld(method.base.prompts)
    torch.testing.assert_close(ours, 0.7 * first + 0.3 * second)
    with torch.no_grad():
        method.kld.k.mul_(1.1)  # at an identity the map of stability has no gradient yet
    again = method.penalty(LABELS, head)
    assert again is not None
    again.backward()
    assert all((p.grad != 0).any() for p in [*method.kld.parameters(), method.base.prompts])
    assert new(plain, kld=False).penalty(LABELS, head) is None


@pytest.mark.parametrize("base", BASES)
def test_on_vpt_deep_all_images_of_a_batch_have_one_mask_of_dropout(
    plain: VisionTransformer, base: str
):
    method = new(plain, base=base, dropout=0.5)
    (tokens,) = method(IMAGES[:1].expand(3, -1, -1, -1), method.vit.read())
    assert torch.allclose(tokens[0], tokens[1]) == (base == "vpt-deep")
    (again,) = method(IMAGES[:1].expand(3, -1, -1, -1), method.vit.read())
    assert not torch.allclose(again, tokens)
    method.eval()
    still = [method(IMAGES, method.vit.read())[0] for _ in range(2)]
    assert torch.equal(*still)


@pytest.mark.parametrize("base", BASES)
def test_the_forward_is_its_bases(plain: VisionTransformer, base: str):
    method = new(plain, base=base)
    torch.manual_seed(0)
    other = BASES[base](frozen(plain), prompts=4, dropout=0.0).double()
    (ours,), (theirs,) = (one(IMAGES, method.vit.read()) for one in (method, other))
    assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("base", BASES)
def test_a_final_run_and_its_checkpoint(tiny, base: str):
    run = final_run(tiny, f"pae(base={base},prompts=4)")
    begun = run.outcome.units - (2 * 2 * 30 + 15)
    assert begun == 30 * (len(few_windows(run.tuned.size)) + 4)
    assert run.outcome.units <= run.planned_units == 30 * (729 + 4) + 2 * 2 * 30 + 15
    assert run.outcome.curves is not None
    assert {"consistency", "stability"} <= set(run.outcome.curves)
    assert not any(name.startswith("method.kld") for name in run.kept)
    assert "method.base.prompts" in run.kept
    assert agrees_after_loading(run)


def test_both_parts_may_be_off(tiny):
    run = final_run(tiny, "pae(prompts=4,mpa=false,kld=false)")
    assert run.outcome.units == run.planned_units == 2 * 2 * 30 + 15
    assert agrees_after_loading(run)


def test_weights_are_searched_where_they_matter():
    assert PAE.space({}) == PAE.search_space
    assert list(PAE.space({"kld": False})) == ["prompts"]


@pytest.mark.usefixtures("unchecked")
def test_arguments_that_make_no_sense(plain: VisionTransformer):
    with pytest.raises(ValueError, match=r"^pae's base is one of vpt-deep, .*, not vpt$"):
        new(plain, base="vpt")
    with pytest.raises(ValueError, match=r"^pae makes a prompt of a window .* has 225 with"):
        new(plain, prompts=226)
    new(plain, prompts=226, mpa=False)


@pytest.mark.usefixtures("few")
def test_segmentation(seg):
    run = final_run(seg, "pae(prompts=4)", tasks="halves")
    assert run.outcome.score is not None
