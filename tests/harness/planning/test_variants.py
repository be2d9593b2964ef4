"""How methods are written on the command line."""

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer

from harness.backbones import families, load
from harness.errors import BadInput
from harness.io.flags import DEFAULT_METHODS
from harness.planning import registry
from harness.planning.registry import registered
from harness.planning.variants import carried, parse
from methods.ivpt import IVPT
from methods.linear import Linear


def test_names_and_arguments():
    linear, ivpt = parse("linear, ivpt(da=false,prompts=50)")
    assert (linear.method, linear.arguments) == (Linear, {})
    assert (ivpt.method, ivpt.arguments) == (IVPT, {"da": False, "prompts": 50})


def test_a_label_doesnt_depend_on_the_order_of_arguments_and_reads_back():
    (one,), (other,) = parse("ivpt(prompts=5,da=gate)"), parse("ivpt(da=gate , prompts=5)")
    assert one.label == other.label == "ivpt(da=gate,prompts=5)"
    assert parse(one.label)[0].arguments == one.arguments


def test_the_same_variant_twice_is_one():
    assert len(parse("vpt,vpt")) == 1


def test_the_protocols_own_arguments_may_be_fixed_too():
    (variant,) = parse("vpt(base_lr=1)", also=["base_lr"])
    assert variant.arguments == {"base_lr": 1}


def test_the_four_methods_are_registered_like_anybodys():
    assert {"linear", "vpt", "vpt-deep", "ivpt"} <= set(registered())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vtp", r"unknown method 'vtp'\. Did you mean 'vpt'"),
        (
            "layernorm",
            r"Known: .*vpt-deep, vqt\. A method in a file is FILE\.py:CLASS; .* installed again",
        ),
        ("ivpt(prompt=5)", "unknown argument of ivpt 'prompt'. Did you mean 'prompts'"),
        ("ivpt(prompts)", "write argument=value"),
        ("ivpt(prompts=ten)", "prompts must be int, not 'ten'"),
        ("ivpt(cdc=false)", "without CDC"),
        ("ivpt(da=maybe)", "ivpt's da is one of true, false, gate, not maybe"),
        ("ivpt(", "can't read the method"),
        ("./absent.py:Mine", "no file absent.py"),
        (__file__ + ":Nothing", "has no method 'Nothing'"),
    ],
)
def test_what_cant_be_read_is_one_line(text: str, message: str):
    with pytest.raises(BadInput, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_a_users_own_file(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("from methods.linear import Linear\n\nclass Mine(Linear):\n    name = 'mine'\n")
    (variant,) = parse(f"{file}:Mine")
    assert issubclass(variant.method, Linear)
    assert variant.label == "mine"


def test_a_family_stands_for_its_methods():
    names = [variant.name for variant in parse("references,vpt-deep(prompts=5)")]
    assert names == ["full", "linear", "vpt-deep"]
    assert {"ivpt", "vpt", "vpt-deep"} <= {variant.name for variant in parse("prompts")}
    assert {variant.name for variant in parse("everything")} == set(registered()) - {"peft"}
    (twice,) = (v for v in parse("prompts,ivpt") if v.name == "ivpt")
    assert twice.label == "ivpt"
    with pytest.raises(BadInput, match=r"unknown method 'promts'\. Did you mean 'prompts'"):
        parse("promts")


def test_a_group_goes_without_what_the_backbone_lacks_and_a_name_is_refused():
    block: Any = BasicBlock
    net = families.frozen(ResNet(block, (1, 1, 1, 1), channels=(8,) * 4, num_classes=0))
    net.name = "a ConvNet"
    kept, lines = carried(parse("prompts,linear"), [net])
    assert [variant.name for variant in kept] == ["lor-vp", "pixel-prompt", "linear"]
    (line,) = (line for line in lines if "vpt-deep" in line)
    assert line.startswith("Without ")
    assert line.endswith(": they need tokens that prompts can join, which a ConvNet doesn't have.")
    for asked in ("prompts,vpt", "vpt,prompts", "vpt"):  # refused where it is built
        assert "vpt" in {variant.name for variant in carried(parse(asked), [net])[0]}
    vit = load("mini_vit").vit
    # those that are run by default are a group too
    kept, lines = carried(parse(DEFAULT_METHODS), [net])
    assert [variant.name for variant in kept] == ["linear"]
    assert len(lines) >= 1
    assert "conv-adapter" not in {variant.name for variant in carried(parse("peft"), [vit])[0]}
    only = [variant for variant in parse("peft") if variant.name == "conv-adapter"]
    with pytest.raises(BadInput, match=r"^Without conv-adapter: it needs .* mini_vit doesn't have"):
        carried(only, [vit])


def test_a_group_goes_without_what_refuses_the_backbone_itself():
    shape: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "num_heads": 3}
    vit = VisionTransformer(**shape, depth=2, class_token=False, global_pool="avg", num_classes=0)
    net = families.frozen(vit)
    net.name = "no CLS"
    kept, lines = carried(parse("ivpt(ar=false),everything"), [net])
    assert kept[0].label == "ivpt(ar=false)"
    assert {line.partition(":")[0] for line in lines} == {
        "Without conv-adapter",
        "Without da-vpt, tcpa",
        "Without ivpt, which can't be built on no CLS",
    }
    assert len(kept) == len(registered()) - 4  # peft is in no group
    assert [variant.label for variant in carried(parse("ivpt,vpt"), [net])[0]] == ["ivpt", "vpt"]
    assert all(p.device.type == "cpu" for p in net.parameters())


def test_a_family_leaves_out_what_cannot_be_imported(monkeypatch: pytest.MonkeyPatch):
    entries = (EntryPoint("gone", "no.such.module:Gone", "harness.methods"), *registry.entries())
    monkeypatch.setattr(registry, "_entries", lambda folders: entries)
    assert "gone" not in [variant.name for variant in parse("prompts")]
    with pytest.raises(BadInput, match="method 'gone' can't be imported"):
        parse("everything")
