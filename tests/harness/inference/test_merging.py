"""A tuned model as timm's plain ViT: the same logits, or a line that says why not."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from command_line import run_command
from in_process import fill
from safetensors import safe_open
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from vit_methods import ON_VITS

import harness
from harness import backbones
from harness.backbones.frozen import Pooling
from harness.backbones.vit import FrozenViT
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint_files, merging
from harness.planning.plan import plan
from harness.planning.variants import one
from harness.store import Store
from harness.training.heads import LinearHead, Model, SetrPup
from harness.training.method import Method

FOLD = {
    *("linear", "full", "bitfit", "ln-tuning", "attn-tuning", "mlp-tuning", "partial-k"),
    *("lora", "ssf", "fact-tt", "fact-tk", "repadapter"),
}
NAME = "vit_tiny_patch16_224"
SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 3, "num_heads": 3}


def model(method: str | type[Method], pooling: Pooling = "cls", **shape: Any) -> Model:
    """Of three blocks and 16 patches, with all that is trained moved away from its start."""
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "num_classes": 0}
    vit = FrozenViT(VisionTransformer(**size, **SMALL, **shape), pooling)
    built = one(method).build(vit, {}) if isinstance(method, str) else method(vit)
    model = Model(built, LinearHead(built, 5)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """timm builds its ViTs as small as those of `model`."""
    build, shape = timm.create_model, dict[str, Any]()

    def small(*given: Any, **arguments: Any) -> nn.Module:
        return build(*given, **{"patch_size": 8, **SMALL, **shape, **arguments})

    monkeypatch.setattr(timm, "create_model", small)
    return shape


@pytest.mark.parametrize("method", ON_VITS)
def test_a_method_folds_into_the_backbone_or_says_why_not(method: str):
    whole = model(method)
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        expected = whole(images)
        plain = set(VisionTransformer(**SMALL, num_classes=0).state_dict())
        said = ""
        try:
            whole.method.merge()
        except ValueError as error:
            said = str(error)
        if said:
            assert method not in FOLD
            assert said.startswith(f"{method} can't be merged")
            return
        vit = cast("Any", whole.method.vit.vit)
        assert set(vit.state_dict()) == plain
        tokens = vit.forward_features(images)[:, 0]
        head = cast("LinearHead", whole.head)
        torch.testing.assert_close(head.linear(tokens), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["full", "ssf", "repadapter"])
@pytest.mark.parametrize(
    ("pooling", "shape"),
    [
        ("cls", {}),
        ("vpt-mae", {}),
        ("avg", {"global_pool": "avg", "class_token": False}),
        ("cls", {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.1}),
    ],
    ids=["cls", "mae", "mean", "registers"],
)
def test_the_line_that_is_said_builds_the_same_model(
    method: str, pooling: Pooling, shape: dict[str, Any], tmp_path: Path, named: dict[str, Any]
):
    named.update(shape)
    whole = model(method, pooling, **shape)
    vit, arguments = merging.merged(whole, NAME)
    save_file(vit.state_dict(), tmp_path / "merged.safetensors")
    line = merging.call(arguments, str(tmp_path / "merged.safetensors"))
    assert ("global_pool='avg'" in line) == (pooling == "vpt-mae")
    assert "img_size=32" in line
    loaded = eval(line, {"timm": timm}).eval()
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), whole(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", backbones.shipped())
def test_a_shipped_backbone_of_any_family_is_merged(name: str):
    method = one("full").build(backbones.load(name).vit, {})
    tuned = Model(method, LinearHead(method, 5))
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter) * parameter.requires_grad)
    vit, arguments = merging.merged(tuned, name)
    assert arguments["model_name"] == backbones.shipped()[name].model
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(vit(images), tuned.eval()(images), rtol=1e-3, atol=1e-4)


def test_without_a_linear_head_the_features_are_merged(named: dict[str, Any]):
    whole = model("lora").method
    vit, arguments = merging.merged(Model(whole, SetrPup(whole.vit, 5)), NAME)
    assert arguments["num_classes"] == 0
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = whole.pool(*whole(images, whole.vit.read()))
        torch.testing.assert_close(vit(images), expected, rtol=1e-4, atol=1e-5)


def test_the_command_writes_what_timm_loads(
    tiny, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run, store = plan(tiny.request("bitfit,vpt-deep", seeds=(0,))), Store(tiny.store)
    fill(
        run,
        store,
        Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)),
    )
    ids = {store.cells()[row.cell].labels["variant"]: row.id for row in store.results()}
    file, to = tiny.folder / "merged.safetensors", ("--merged", "--store", str(tiny.store))
    assert run_command(monkeypatch, "export", ids["bitfit"], str(file), *to) == 0
    said, line = capsys.readouterr().out.splitlines()
    assert "merged" in said
    assert "mean (0.485" in said
    loaded = eval(line, {"timm": timm}).eval()
    tuned = harness.load(store.checkpoints / f"{ids['bitfit']}.safetensors")
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), tuned(images), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(tuned.merged()(images), loaded(images))
    with safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["std"]) == [0.229, 0.224, 0.225]
    assert type(loaded.head) is nn.Linear

    for arguments, message in (
        ((ids["bitfit"], str(file), *to), "already exists"),
        ((ids["bitfit"], f"{file}.pth", *to), "must end in .safetensors"),
        ((ids["vpt-deep"], f"{file}.safetensors", *to), "vpt-deep can't be merged"),
        ((ids["vpt-deep"], f"{file}.safetensors", *to[1:], "--method", "x"), "for --merged"),
    ):
        assert run_command(monkeypatch, "export", *arguments) == 2
        assert message in capsys.readouterr().err


class Shifted(Method):
    """Adds a shift to the features."""

    name = "shifted"

    def __init__(self, vit: FrozenViT):
        super().__init__(vit)
        self.shift = nn.Parameter(torch.ones(vit.dim))

    def pool(self, tokens: Tensor) -> Tensor:
        return super().pool(tokens) + self.shift


class Forgetful(Shifted):
    """Says that there is nothing to fold."""

    def merge(self) -> None:
        pass


class Hooked(Method):
    name = "hooked"

    def __init__(self, vit: FrozenViT):
        super().__init__(vit)
        cast("Any", vit.vit.blocks[1]).register_forward_pre_hook(lambda *_: None)


class Reading(Method):
    name = "reading"

    def forward(self, images: Tensor, read: Any) -> list[Tensor]:
        return [2 * tokens for tokens in super().forward(images, read)]


class Wrapped(Method):
    """What acts in training alone is nothing to fold; a module in a block's place is."""

    name = "wrapped"

    def __init__(self, vit: FrozenViT, wrapped: bool = True):
        super().__init__(vit)
        block: Any = vit.vit.blocks[1]
        block.drop_path1 = nn.Dropout(0.5)
        if wrapped:
            block.mlp = nn.Sequential(block.mlp)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        (Shifted, "shifted can't be merged into the backbone's weights: shift is beside them"),
        (Forgetful, r"shifted can't be merged: merge\(\) changes the outputs by"),
        (Hooked, "hooked can't be merged .*: blocks.1 is a hooked Block"),
        (Reading, "reading can't be merged .*: forward is its own"),
        (Wrapped, "wrapped can't be merged .*: blocks.1.mlp is Sequential"),
    ],
)
def test_what_cant_be_folded_says_why(method: type[Method], why: str, named: dict[str, Any]):
    whole = model(method)
    with pytest.raises(BadInput, match=why):
        merging.merged(whole, NAME)


def test_dropout_in_a_block_is_nothing_to_fold(named: dict[str, Any]):
    whole = model("linear")
    vit: Any = whole.method.vit
    Wrapped(vit, wrapped=False)
    merging.merged(whole, NAME)


def test_a_backbone_of_another_form_is_refused(named: dict[str, Any]):
    named.update(init_values=0.1)
    with pytest.raises(BadInput, match=r"full can't be merged: blocks\.0\.ls1\.gamma isn't what"):
        merging.merged(model("full"), NAME)
