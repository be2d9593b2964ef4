"""Hugging Face's peft: its types against their equations, on the fast forward pass; what is drawn,
stored and refused."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from in_process import outcomes
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from tuned import IMAGES, randomise

from harness.backbones.changes import is_open
from harness.backbones.swin import FrozenSwin
from harness.backbones.vit import FrozenViT
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.plan import plan
from harness.planning.registry import registered
from harness.planning.variants import parse
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.flops import step_flops
from harness.training.heads import LinearHead, Model
from harness.training.method import Method, trained_values
from harness.training.recipe import new_optimizer
from methods.hf_peft_kinds import KINDS

peft = pytest.importorskip("peft")

NAMED = sorted(
    name for name, entry in registered().items() if entry.value.startswith("methods.hf_peft:")
)
SMALL = {"fourierft": {"rank": 20}, "waveft": {"rank": 20}, "oft": {"rank": 4}, "miss": {"rank": 4}}
"""Of types whose own rank is too large for 24 channels."""


def make(vit: VisionTransformer, text: str, noise: float = 0.2, **more: Any) -> Method:
    (variant,) = parse(text)
    torch.manual_seed(0)
    method = variant.method(
        FrozenViT(deepcopy(vit), "cls" if vit.global_pool == "token" else "avg"),
        **{**variant.arguments, **more},
    ).double()
    randomise(method, noise)
    return method


def features_of(method: Method) -> Tensor:
    (tokens,) = method(IMAGES, method.vit.read())
    return method.pool(tokens)


def wrapped(method: Method) -> list[tuple[nn.Module, str, nn.Module]]:
    """(what holds it, its name there, peft's module)."""
    return [
        (part, name, child)
        for part in method.vit.vit.modules()
        for name, child in part.named_children()
        if isinstance(child, peft.tuners.tuners_utils.BaseTunerLayer)
    ]


def trained(method: Method) -> list[nn.Parameter]:
    return [parameter for parameter in method.parameters() if parameter.requires_grad]


def size(text: str) -> tuple[int, int]:
    (variant,) = parse(text)
    with torch.device("meta"):
        vit = FrozenViT(VisionTransformer(num_classes=0))
        method = variant.method(vit, **variant.arguments)
    assert {parameter.device.type for parameter in method.parameters()} == {"meta"}
    return trained_values(method)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("peft()", 1_179_648),
        ("peft(rank=8,target=qkv)", 294_912),
        ("dora", 1_262_592),
        ("peft(type=dora,target=qkv)", 322_560),
        ("vera(rank=8)", 83_328),
        ("vera", 95_232),
        ("lokr", 80_640),
        ("boft(rank=8)", 101_376),
        ("ia3", 110_592),
        ("fourierft(rank=100)", 4_800),
        ("peft(type=loha)", 2_359_296),
        ("peft(type=randlora,rank=8)", 3_575_808),
        ("peft(type=gralora)", 1_179_648),
        ("peft(type=waveft,rank=100)", 4_800),
        ("peft(type=delora)", 1_179_696),
    ],
)
def test_parameter_counts_on_vit_b16(text: str, count: int):
    assert size(text) == (count, 0)


def test_parameter_counts_that_follow_from_others():
    """OFT's 192 blocks are of 4 inputs, but of 16 in fc2; HRA's on all maps are refused."""
    of_4, of_16 = size("oft(rank=4,target=qkv+proj+fc1)")[0], size("oft(rank=16,target=fc2)")[0]
    assert of_4 + of_16 == 317_952
    at_2 = size("hra(rank=2,target=fc2)")[0]
    assert size("hra(target=qkv+proj+fc1)")[0] + 4 * at_2 == 516_096
    assert size("hra")[0] == 12 * 768 * 8


def dora(part: Any, weight: Tensor) -> Tensor:
    a, b = part.lora_A["default"].weight, part.lora_B["default"].weight
    changed = weight + sum(torch.outer(b[:, i], a[i]) for i in range(len(a)))
    length = (changed**2).sum(1).sqrt().detach()
    return part.lora_magnitude_vector["default"].weight[:, None] * changed / length[:, None]


def vera(part: Any, weight: Tensor) -> Tensor:
    out, into = weight.shape
    a, b = part.vera_A["default"][:, :into], part.vera_B["default"][:out]
    l_b, l_d = part.vera_lambda_b["default"], part.vera_lambda_d["default"]
    return weight + sum(l_d[i] * torch.outer(l_b * b[:, i], a[i]) for i in range(len(a)))


def oft(part: Any, weight: Tensor) -> Tensor:
    changed = []
    for values, own in zip(part.oft_R["default"].weight, weight.split(4, dim=1), strict=True):
        q = torch.zeros(4, 4, dtype=torch.float64)
        at = 0
        for row in range(4):
            for column in range(row + 1, 4):
                q[row, column], q[column, row] = values[at], -values[at]
                at += 1
        turn = torch.eye(4, dtype=torch.float64) + 2 * (q + q @ q + q @ q @ q) + q @ q @ q @ q
        changed.append(own @ turn.T)
    return torch.cat(changed, dim=1)


def boft(part: Any, weight: Tensor) -> Tensor:
    changed = []
    for own, kept in zip(part.boft_R["default"][0], weight.split(4, dim=1), strict=True):
        q, one = (own - own.T) / 2, torch.eye(4, dtype=torch.float64)
        changed.append(kept @ ((one - q) @ torch.linalg.inv(one + q)).T)
    return part.boft_s["default"] * torch.cat(changed, dim=1)


def hra(part: Any, weight: Tensor) -> Tensor:
    for u in part.hra_u["default"].T:
        weight = weight - 2 * torch.outer(weight @ u, u) / (u @ u)
    return weight


def lokr(part: Any, weight: Tensor) -> Tensor:
    one, other = part.lokr_w1["default"], part.lokr_w2
    right = (
        other["default"]
        if "default" in other
        else part.lokr_w2_a["default"] @ part.lokr_w2_b["default"]
    )
    rows = [torch.cat([value * right for value in row], dim=1) for row in one]
    return weight + torch.cat(rows, dim=0)


def fourierft(part: Any, weight: Tensor) -> Tensor:
    """The inverse transform as a sum of waves."""
    out, into = weight.shape
    rows, columns = torch.arange(out), torch.arange(into)
    change: Any = 0.0
    for value, (u, v) in zip(
        part.fourierft_spectrum["default"], part.indices["default"].T, strict=True
    ):
        angle = 2 * torch.pi * (u * rows[:, None] / out + v * columns[None].double() / into)
        change = change + value * angle.cos() / (out * into)
    return weight + 150 * change


def ia3(part: Any, weight: Tensor) -> Tensor:
    return part.ia3_l["default"] * weight


WEIGHTS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "dora": dora,
    "vera": vera,
    "oft": oft,
    "boft": boft,
    "hra": hra,
    "lokr": lokr,
    "fourierft": fourierft,
    "ia3": ia3,
}


class Rewritten(nn.Module):
    """A map by the equation of a type, with the tensors of peft's module."""

    def __init__(self, part: nn.Module, kind: str):
        super().__init__()
        self.part, self.kind = part, kind

    def forward(self, tokens: Tensor) -> Tensor:
        base: Any = self.part.base_layer
        bias = base.bias
        if self.kind == "ia3" and self.part.ia3_l["default"].shape[1] == 1:
            bias = bias * self.part.ia3_l["default"][:, 0]  # of an output; fc2's are of its input
        return tokens @ WEIGHTS[self.kind](self.part, base.weight).T + bias


@pytest.mark.parametrize("kind", NAMED)
def test_logits_and_gradients_equal_the_equations(kind: str, plain: VisionTransformer):
    if kind == "peft":
        assert set(WEIGHTS) == set(NAMED) - {"peft"}
        return
    ours, theirs = (
        make(plain, kind, target="qkv+proj+fc1+fc2", **SMALL.get(kind, {})) for _ in range(2)
    )
    assert len(wrapped(ours)) == 12
    for holder, name, part in wrapped(theirs):
        setattr(holder, name, Rewritten(part, kind))
    one, other = features_of(ours), theirs.vit.vit(IMAGES)
    close = 1e-4 if kind == "fourierft" else 1e-9  # peft transforms in float32
    torch.testing.assert_close(one, other, rtol=close, atol=close)
    plain_features = FrozenViT(plain).pool(
        FrozenViT(plain).run(FrozenViT(plain).embed(IMAGES), ours.vit.read())[-1]
    )
    assert (one - plain_features).abs().max() > 1e-2
    weights = torch.randn_like(one)
    first = torch.autograd.grad((one * weights).sum(), trained(ours))
    second = torch.autograd.grad((other * weights).sum(), trained(theirs))
    for a, b in zip(first, second, strict=True):
        assert b.abs().max() > 1e-6
        torch.testing.assert_close(a, b, rtol=close, atol=close)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_blocks_stay_open_and_give_what_pefts_own_forward_does(kind: str, plain):
    small = SMALL.get(kind, {})
    method = make(plain, f"peft(type={kind})", **small)
    assert all(is_open(block) for block in method.vit.vit.blocks)
    torch.testing.assert_close(features_of(method), method.vit.vit(IMAGES), rtol=1e-6, atol=1e-6)
    start = make(plain, f"peft(type={kind})", noise=0.0, **small)
    moved = (features_of(start) - plain(IMAGES)).abs().max()
    assert (moved < 1e-5) == (kind != "fourierft"), moved


@pytest.mark.parametrize("swin", [SwinTransformer, SwinTransformerV2])
def test_every_blocks_maps_are_wrapped_in_stages_too(swin: type[nn.Module]):
    shape = {"depths": (1, 2), "num_heads": (2, 4), "window_size": 4, "num_classes": 0}
    torch.manual_seed(0)
    vit = swin(img_size=16, patch_size=2, embed_dim=24, **shape).double().eval()
    with torch.no_grad():
        for parameter in vit.parameters():  # the second version's norms start at zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    (variant,) = parse("peft(type=lora,target=qkv+fc2)")
    method = variant.method(FrozenSwin(deepcopy(vit)), **variant.arguments).double().eval()
    randomise(method)
    assert len(wrapped(method)) == 6
    features = features_of(method)
    torch.testing.assert_close(features, method.vit.vit(IMAGES), rtol=1e-9, atol=1e-9)
    assert (features - vit(IMAGES)).abs().max() > 1e-2


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_merged_it_is_a_plain_vit_with_the_same_features(kind: str, plain: VisionTransformer):
    method = make(plain, f"peft(type={kind})", **SMALL.get(kind, {})).eval()
    with torch.no_grad():
        before = features_of(method)
        method.merge()
        after = method.vit.vit(IMAGES)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert wrapped(method) == []
    assert set(method.vit.vit.state_dict()) == set(plain.state_dict())


def test_rows_that_no_head_reads_are_not_computed(plain: VisionTransformer):
    """In the last block, of every map but qkv, nine tenths: what a closed block would cost."""
    counts = []
    for closed in (False, True):
        method = make(plain, "dora").float()
        if closed:
            for _, _, part in wrapped(method):
                vars(part)["each_token"] = False
        model = Model(method, LinearHead(method, 4))
        counts.append(step_flops(Classification(), model, 16, 64, torch.device("cpu")))
    assert counts[0] < 0.9 * counts[1]


def test_dropout_acts_in_training_alone(plain: VisionTransformer):
    method = make(plain, "vera", dropout=0.5)
    method.train()
    assert not torch.equal(features_of(method), features_of(method))
    method.eval()
    assert torch.equal(features_of(method), features_of(method))


def test_what_is_drawn_once_for_all_is_the_same_everywhere(plain: VisionTransformer):
    """It isn't in checkpoints: another torch, peft or seed must draw the same."""
    torch.manual_seed(5)
    (vera_part, *_), (fourier, *_) = (
        [part for _, _, part in wrapped(make(plain, text))]
        for text in ("vera", "fourierft(rank=20)")
    )
    a, b = vera_part.vera_A["default"], vera_part.vera_B["default"]
    assert (a.shape, b.shape) == ((256, 96), (96, 256))
    torch.testing.assert_close(a[0, :3], DRAWN_A, rtol=0, atol=1e-7)
    torch.testing.assert_close(b[-1, -3:], DRAWN_B, rtol=0, atol=1e-7)
    assert fourier.indices["default"][:, :4].tolist() == DRAWN_PLACES


DRAWN_A = torch.tensor([-0.001871705, 0.134110898, -0.205761284], dtype=torch.float64)
DRAWN_B = torch.tensor([-0.050672356, 0.051696245, 0.103090264], dtype=torch.float64)
DRAWN_PLACES = [[54, 69, 18, 33], [23, 1, 9, 14]]


def test_vectors_have_no_weight_decay(plain: VisionTransformer):
    """Of (1, n) and (n, 1) too: it would pull a scale to 0, not to 1."""
    recipe = ClassificationRecipe(
        optimizer="adamw",
        base_lr=0.1,
        weight_decay=0.5,
        batch_size=6,
        epochs=2,
        warmup_epochs=0,
    )
    for text, vectors in (("ia3", 12), ("dora", 12), ("boft", 3), ("oft", 0), ("vera", 24)):
        method = make(plain, text, **SMALL.get(text, {}))
        optimizer = new_optimizer(Model(method, LinearHead(method, 4)), recipe)
        own = {id(parameter) for parameter in trained(method)}
        spared = [
            parameter
            for group in optimizer.param_groups
            if group["weight_decay"] == 0
            for parameter in group["params"]
            if id(parameter) in own
        ]
        assert len(spared) == vectors, text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("peft(type=qlora)", r"peft has no type 'qlora': write one of lora, dora, vera"),
        (
            "dora(target=qkv+mlp)",
            r"dora: target='qkv\+mlp': join some of qkv, proj, fc1, fc2 by \+",
        ),
        ("dora(target=qkv+qkv)", r"join some of"),
        ("dora(rank=0)", r"dora: rank must be from 1 to 10000, not 0"),
        ("vera(rank=20000)", r"vera: rank must be from 1 to 10000"),
        ("peft(type=ia3,rank=4)", r"peft: ia3 has no rank: leave it out"),
        ("peft(type=oft,dropout=0.1)", r"peft: oft has no dropout: leave it out"),
        ("dora(dropout=1.0)", r"dora: dropout must be from 0 to below 1, not 1\.0"),
        ("hra(rank=3)", r"hra: with an odd rank .* write rank=4"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(text: str, message: str):
    with pytest.raises(BadInput, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "hra(target=fc2)",
            r"hra: a step would keep 4\.5 GB of square matrices for these maps, more"
            r" than the 2 GB .* write a lower rank, or fewer maps, such as target=qkv",
        ),
        ("boft(target=qkv+proj+fc1+fc2)", r"boft: a step would keep 2\.7 GB .* write fewer maps"),
        (
            "oft(rank=10)",
            r"oft: rank=10 is the size of a block, and must divide a map's 768 inputs",
        ),
    ],
)
def test_what_isn_t_worth_its_memory_is_refused_before_it_is_built(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        size(text)


@pytest.mark.parametrize("text", ["dora(rank=2)", "vera(rank=8)", "oft(rank=4)", "hra"])
def test_a_final_run_can_be_made_again_and_its_checkpoint_loaded(text: str, tiny):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found = plan(tiny.request(text))
    (cell,) = found.cells
    point = {"base_lr": 0.05, "weight_decay": 0.0}
    trainers = [Trainer(found, threads=1, raises=True, keep=keep) for _ in range(2)]
    (_, (one,)), (_, (again,)) = (
        outcomes(trainer, FinalJob(cell.key, (0,), point)) for trainer in trainers
    )
    assert one.score is not None
    assert one.logits_sha256 == again.logits_sha256
    (file,) = keep.folder.iterdir()
    assert file.stat().st_size < 100_000  # without what follows from a seed
    base = found.backbones[cell.backbone]
    loaded = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(file)).model
    images = torch.rand(2, 3, base.vit.image_size, base.vit.image_size)
    model: Any = trainers[1].model
    assert torch.equal(loaded.eval()(images), model.eval()(images))
    assert (loaded.method.vit.embed(images) == model.method.vit.embed(images)).all()
