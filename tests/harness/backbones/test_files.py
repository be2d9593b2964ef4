"""Files of weights as people have them: those of the ViT that is named are read, whatever is around
them; others are refused."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from harness import backbones
from harness.backbones.layouts import fill
from harness.backbones.names import MOCO_V3
from harness.errors import BadInput
from harness.planning.dry_run import preview

NAME = "test_vit"
"""timm's: 6 blocks of width 64, two heads, patches of 16, 160 pixels."""
State = dict[str, torch.Tensor]


@pytest.fixture
def state() -> State:
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=0).state_dict()


def other(**changes: Any) -> State:
    torch.manual_seed(1)
    made = {
        "img_size": 160,
        "patch_size": 16,
        "embed_dim": 64,
        "depth": 6,
        "num_heads": 2,
        "mlp_ratio": 3,
        "num_classes": 0,
    }
    return VisionTransformer(**{**made, **changes}).state_dict()


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def loaded(file: Path) -> backbones.Backbone:
    return backbones.load(f"{NAME}={file}")


def refused(file: Path, name: str = NAME) -> str:
    """The one line that it is refused with."""
    with pytest.raises(BadInput) as caught:
        backbones.load(f"{name}={file}")
    said = str(caught.value)
    assert "\n" not in said
    assert "\x1b" not in said
    assert "weights_only" not in said
    assert name in said
    assert str(file) in said
    return said


NOISE = {"criterion.centre": torch.ones(3), "epoch": 3, "optimizer": {"state": {0: torch.zeros(2)}}}
WRAPPED: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "head": lambda s: {
        **s,
        "head.weight": torch.ones(5, 64),
        "head.bias": torch.ones(5),
        "fc.weight": torch.ones(5, 64),
    },
    "teacher": lambda s: {"student": under("backbone.", other()), "teacher": under("backbone.", s)},
    "teacher, in parallel": lambda s: {
        "teacher": under("module.backbone.", s),
        "args": argparse.Namespace(lr=0.1),
    },
    "teacher's names": lambda s: {
        **under("student.backbone.", other()),
        **under("teacher.backbone.", s),
    },
    "student alone": lambda s: {"student": s},
    "net": lambda s: {"net": s, **NOISE},
    "model_state_dict": lambda s: {"model_state_dict": s, **NOISE},
    "lightning": lambda s: {
        "state_dict": {**under("backbone.", s), "head.weight": torch.ones(3, 64)},
        **NOISE,
    },
    "model and compiled": lambda s: {"state_dict": under("model._orig_mod.", s)},
    "compiled, in parallel": lambda s: under("_orig_mod.module.", s),
    "any name": lambda s: {"a": 1, "model": {"state_dict": under("net.my_encoder.", s)}},
    "ema": lambda s: {"state_dict": other(), "state_dict_ema": s},
    "moco": lambda s: {
        "state_dict": {
            **under("module.momentum_encoder.", other()),
            **under("module.base_encoder.", {**s, "head.0.weight": torch.ones(9, 64)}),
            **under("module.predictor.", {"0.weight": torch.ones(9, 9)}),
        },
        "arch": "vit_base",
    },
    "mae with its decoder": lambda s: {
        "model": {
            **s,
            "mask_token": torch.zeros(1, 1, 8),
            "decoder_pos_embed": torch.zeros(1, 101, 8),
            **{
                f"decoder_{part}.weight": torch.zeros(8, 8)
                for part in ("embed", "blocks.0.norm1", "norm", "pred")
            },
        }
    },
    "half precision": lambda s: {key: value.half().float() for key, value in s.items()},
    "a linear patch embedding": lambda s: {
        **s,
        "patch_embed.proj.weight": s["patch_embed.proj.weight"].flatten(1),
    },
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_weights_are_found_whatever_is_around_them(kind: str, state: State, tmp_path: Path):
    torch.save(WRAPPED[kind](state), tmp_path / "x.bin")
    found = loaded(tmp_path / "x.bin").vit.vit.state_dict()
    assert found.keys() == state.keys()
    tolerance = 1e-3 if kind == "half precision" else 0.0
    for key, value in found.items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=tolerance)


def test_the_content_says_the_format_and_not_the_name(state: State, tmp_path: Path):
    save_file(under("backbone.", state), tmp_path / "x.pth")
    torch.save(state, tmp_path / "x.npz")
    torch.save(state, tmp_path / "old.weights", _use_new_zipfile_serialization=False)
    assert len({loaded(tmp_path / name).sha256 for name in ("x.pth", "x.npz", "old.weights")}) == 1


def hugging_face(state: State, newer: bool) -> State:
    """As `transformers` names them: version 4 on the hub, or as its version 5 has them in
    memory."""
    found = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
    }
    for part in ("weight", "bias"):
        found[f"embeddings.patch_embeddings.projection.{part}"] = state[f"patch_embed.proj.{part}"]
        found[f"layernorm.{part}"] = state[f"norm.{part}"]
        for index in range(6):
            of, to = f"blocks.{index}", f"layers.{index}" if newer else f"encoder.layer.{index}"
            attention, out = (
                ("attention", "attention.o_proj")
                if newer
                else ("attention.attention", "attention.output.dense")
            )
            letters = ("q_proj", "k_proj", "v_proj") if newer else ("query", "key", "value")
            for letter, value in zip(letters, state[f"{of}.attn.qkv.{part}"].chunk(3), strict=True):
                found[f"{to}.{attention}.{letter}.{part}"] = value.contiguous()
            first, second = (
                ("mlp.fc1", "mlp.fc2") if newer else ("intermediate.dense", "output.dense")
            )
            names = {
                out: "attn.proj",
                "layernorm_before": "norm1",
                "layernorm_after": "norm2",
                first: "mlp.fc1",
                second: "mlp.fc2",
            }
            found |= {
                f"{to}.{theirs}.{part}": state[f"{of}.{ours}.{part}"]
                for theirs, ours in names.items()
            }
    return found


@pytest.mark.parametrize("newer", [False, True])
@pytest.mark.parametrize("prefix", ["", "vit."])
def test_hugging_faces_vit_is_read(newer: bool, prefix: str, tmp_path: Path):
    torch.manual_seed(0)
    state = other()
    classifier = (
        {"classifier.weight": torch.ones(2, 64)}
        if prefix
        else {"pooler.dense.weight": torch.ones(64, 64)}
    )
    save_file(
        {**under(prefix, hugging_face(state, newer)), **classifier}, tmp_path / "model.safetensors"
    )
    vit = VisionTransformer(
        img_size=160, patch_size=16, embed_dim=64, depth=6, num_heads=2, mlp_ratio=3, num_classes=0
    )
    fill(vit, "mine", tmp_path / "model.safetensors")
    torch.testing.assert_close(vit.state_dict(), state, rtol=0, atol=0)


@pytest.mark.parametrize("registers", [0, 4])
def test_hugging_faces_dinov2_is_read_registers_too(registers: int, tmp_path: Path):
    shape = {
        "img_size": 28,
        "patch_size": 14,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 0,
        "init_values": 1e-5,
    }
    vit = VisionTransformer(**shape, reg_tokens=registers, no_embed_class=registers > 0)
    state = {key: torch.randn_like(value) for key, value in vit.state_dict().items()}
    found = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.position_embeddings": state["pos_embed"],
        "embeddings.mask_token": torch.zeros(1, 24),
    }
    if registers:
        place = torch.randn(1, 1, 24)
        found |= {
            "embeddings.cls_token": state["cls_token"] - place,
            "embeddings.register_tokens": state["reg_token"],
        }
        found["embeddings.position_embeddings"] = torch.cat([place, state["pos_embed"]], 1)
    for part in ("weight", "bias"):
        found[f"embeddings.patch_embeddings.projection.{part}"] = state[f"patch_embed.proj.{part}"]
        found[f"layernorm.{part}"] = state[f"norm.{part}"]
        for index in range(2):
            of, to = f"blocks.{index}", f"encoder.layer.{index}"
            for letter, value in zip(
                ("query", "key", "value"), state[f"{of}.attn.qkv.{part}"].chunk(3), strict=True
            ):
                found[f"{to}.attention.attention.{letter}.{part}"] = value
            found[f"{to}.attention.output.dense.{part}"] = state[f"{of}.attn.proj.{part}"]
            found |= {
                f"{to}.{name}.{part}": state[f"{of}.{name}.{part}"]
                for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")
            }
            found |= {f"{to}.layer_scale{n}.lambda1": state[f"{of}.ls{n}.gamma"] for n in (1, 2)}
    torch.save(under("dinov2.", found), tmp_path / "pytorch_model.bin")
    fill(vit, "mine", tmp_path / "pytorch_model.bin")
    torch.testing.assert_close(vit.state_dict(), state)


def original(
    depth: int = 6,
    patch: int = 16,
    grid: int = 10,
    heads: int = 2,
    prefix: str = "",
    later: bool = False,
    times: float = 1,
) -> dict[str, np.ndarray]:
    """The original .npz files' layout, or Big Vision's, with random weights of `test_vit`'s
    width."""
    rng, dim, found = np.random.default_rng(0), 64, {}
    found["embedding/kernel"], found["embedding/bias"] = (
        rng.normal(size=(patch, patch, 3, dim)),
        rng.normal(size=dim),
    )
    found["cls"] = rng.normal(size=(1, 1, dim))
    found["pos_embedding" if later else "Transformer/posembed_input/pos_embedding"] = rng.normal(
        size=(1, grid**2 + 1, dim)
    )
    attention, mlp, second = ("0", "0", "1") if later else ("1", "3", "2")
    norms = ["Transformer/encoder_norm"] + [
        f"Transformer/encoderblock_{i}/LayerNorm_{n}" for i in range(depth) for n in ("0", second)
    ]
    for name in norms:
        found[f"{name}/scale"], found[f"{name}/bias"] = rng.normal(size=dim), rng.normal(size=dim)
    for block in (f"Transformer/encoderblock_{i}" for i in range(depth)):
        a = f"{block}/MultiHeadDotProductAttention_{attention}"
        for n in ("query", "key", "value"):
            found[f"{a}/{n}/kernel"], found[f"{a}/{n}/bias"] = (
                rng.normal(size=(dim, heads, dim // heads)),
                rng.normal(size=(heads, dim // heads)),
            )
        found[f"{a}/out/kernel"], found[f"{a}/out/bias"] = (
            rng.normal(size=(heads, dim // heads, dim)),
            rng.normal(size=dim),
        )
        for n, (rows, columns) in enumerate(((dim, 3 * dim), (3 * dim, dim))):
            found[f"{block}/MlpBlock_{mlp}/Dense_{n}/kernel"] = rng.normal(size=(rows, columns))
            found[f"{block}/MlpBlock_{mlp}/Dense_{n}/bias"] = rng.normal(size=columns)
    return {prefix + key: (times * value).astype("f4") for key, value in found.items()} | {
        "head/kernel": np.ones((dim, 2), "f4")
    }


@pytest.mark.parametrize(
    ("prefix", "later"), [("", False), ("opt/target/", False), ("params/", True)]
)
def test_an_npz_is_what_timm_reads_of_it(prefix: str, later: bool, tmp_path: Path):
    np.savez(tmp_path / "x.npz", allow_pickle=False, **original(prefix=prefix, later=later))
    vit: Any = VisionTransformer(
        img_size=160, patch_size=16, embed_dim=64, depth=6, num_heads=2, mlp_ratio=3, num_classes=0
    )
    vit.load_pretrained(str(tmp_path / "x.npz"))
    mine: Any = VisionTransformer(
        img_size=160, patch_size=16, embed_dim=64, depth=6, num_heads=2, mlp_ratio=3, num_classes=0
    )
    fill(mine, "mine", tmp_path / "x.npz")
    torch.testing.assert_close(mine.state_dict(), vit.state_dict(), rtol=0, atol=0)


def test_clips_image_tower_is_read(tmp_path: Path):
    shape = {
        "img_size": 32,
        "patch_size": 16,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 0,
        "pre_norm": True,
    }
    vit = VisionTransformer(**shape)
    state = {key: torch.randn_like(value) for key, value in vit.state_dict().items()}
    names = {
        "patch_embed.proj.": "conv1.",
        "norm_pre.": "ln_pre.",
        "blocks.": "transformer.resblocks.",
        ".norm": ".ln_",
        ".attn.qkv.": ".attn.in_proj_",
    }
    names |= {
        ".attn.proj.": ".attn.out_proj.",
        ".mlp.fc1.": ".mlp.c_fc.",
        ".mlp.fc2.": ".mlp.c_proj.",
    }
    found = {
        "class_embedding": state["cls_token"].flatten(),
        "positional_embedding": state["pos_embed"][0],
        "proj": torch.ones(24, 8),
    }
    for key, value in state.items():
        if key not in ("cls_token", "pos_embed"):
            key = re.sub(r"^norm\.", "ln_post.", key)
            for ours, theirs in names.items():
                key = key.replace(ours, theirs)
            found[key] = value
    text = {
        "token_embedding.weight": torch.ones(4, 8),
        "transformer.resblocks.0.ln_1.weight": torch.ones(8),
        "positional_embedding": torch.ones(7, 8),
    }
    torch.save({**under("visual.", found), **text}, tmp_path / "x.pt")
    fill(vit, "mine", tmp_path / "x.pt")
    torch.testing.assert_close(vit.state_dict(), state)


def saved(value: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def npz(**changes: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **original(**changes))

    return write


def spoilt(key: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        state = other()
        torch.save({**state, key: value(state[key])}, path)

    return write


def script(path: Path) -> None:
    # what people have, though torch would rather they had not
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


class Module(torch.nn.Linear):
    pass


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another patch size": (
        saved(other(patch_size=32)),
        "it has patches of 32 x 32 pixels, and test_vit of 16 x 16",
    ),
    "a finer patch size, wrapped": (
        saved({"model": under("module.", other(patch_size=8))}),
        "it has patches of 8 x 8 pixels",
    ),
    "another patch size, npz": (
        npz(patch=32, grid=5),
        "it has patches of 32 x 32 pixels, and test_vit of 16 x 16",
    ),
    "deeper": (saved(other(depth=8)), "it has 8 blocks, and test_vit 6"),
    "deeper, npz": (npz(depth=8), "it has 8 blocks, and test_vit 6"),
    "shallower": (saved(other(depth=4)), "it has 4 blocks, and test_vit 6"),
    "shallower, npz": (npz(depth=4), "it has 4 blocks, and test_vit 6"),
    "wider": (saved(other(embed_dim=96)), "it is 96 wide, and test_vit 64"),
    "other heads, npz": (npz(heads=4), "its attention has 4 heads, and test_vit's 2"),
    "a wider mlp": (
        saved(other(mlp_ratio=4)),
        "its blocks.0.mlp.fc1.weight is 256 x 64, and not 192 x 64",
    ),
    "more than one channel kind": (
        saved(other(in_chans=4)),
        "its patch_embed.proj.weight is 64 x 4 x 16 x 16, and not 64 x 3 x 16 x 16",
    ),
    "layer scale": (
        saved(other(init_values=1.0)),
        "it has an extra blocks.0.ls1.gamma, blocks.0.ls2.gamma, blocks.1.ls1.gamma and 9 more",
    ),
    "a distillation token": (
        saved({**other(), "dist_token": torch.ones(1, 1, 64)}),
        "it has an extra dist_token",
    ),
    "a part": (
        saved({key: value for key, value in other().items() if "blocks.5.mlp" not in key}),
        "it lacks blocks.5.mlp.fc1.weight",
    ),
    "zeros": (
        saved({key: torch.zeros_like(value) for key, value in other().items()}),
        "is all zeros: these are no trained weights",
    ),
    "a block of zeros": (
        spoilt("blocks.3.attn.qkv.weight", torch.zeros_like),
        "blocks.3.attn.qkv.weight is all zeros",
    ),
    "zeros, npz": (npz(times=0), "is all zeros"),
    "nan": (
        spoilt("blocks.2.norm1.bias", lambda value: value * float("nan")),
        "blocks.2.norm1.bias has values that are no finite numbers",
    ),
    "infinity": (
        spoilt("blocks.2.mlp.fc1.weight", lambda value: value / 0),
        "has values that are no finite numbers",
    ),
    "quantized": (
        spoilt("blocks.0.attn.qkv.weight", lambda value: (value * 9).to(torch.int8)),
        "holds int8 values: quantized or sparse",
    ),
    "a position embedding of no square": (
        spoilt("pos_embed", lambda value: value[:, :-3]),
        "has 98 places, which are no square",
    ),
    "two ViTs": (
        saved({**under("a.", other()), **under("b.", other())}),
        "it holds no Vision Transformer that is known, but a.cls_token",
    ),
    "something else": (
        saved({"layer1.0.conv1.weight": torch.ones(2, 2, 1, 1), "bn.weight": torch.ones(2)}),
        "but layer1.0.conv1.weight, bn.weight",
    ),
    "no tensors": (saved({"epoch": 3, "lr": 0.1}), "holds no tensors by name, but epoch, lr"),
    "a list": (saved([1, 2]), "holds a list, not tensors by name"),
    "a tensor": (saved(torch.ones(3)), "holds one tensor, not tensors by name"),
    "a module": (saved(Module(2, 2)), "holds Python objects (Module), not tensors alone"),
    "TorchScript": (script, "is a TorchScript archive, which is code"),
    "a page": (
        lambda path: path.write_text("\n <!DOCTYPE html><html>403</html>"),
        "is a web page, not weights",
    ),
    "JSON": (lambda path: path.write_text('{"weight_map": {}}'), "is JSON, not weights"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "is a pointer of Git LFS",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "is empty"),
    "garbage": (lambda path: path.write_bytes(b"not weights at all" * 9), "is no file of weights"),
    "a folder": (lambda path: path.mkdir(), "is a folder: give the file in it"),
    "no file": (lambda path: None, "no file"),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_are_not_its_weights_is_refused_by_what_it_is(kind: str, tmp_path: Path):
    write, said = REFUSED[kind]
    write(tmp_path / "x.pth")
    assert said in refused(tmp_path / "x.pth")


def test_a_file_that_was_cut_short_is_refused(state: State, tmp_path: Path):
    torch.save(state, tmp_path / "whole.pth")
    save_file(state, tmp_path / "whole.safetensors")
    for suffix in ("pth", "safetensors"):
        whole = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
        assert "damaged" in refused(tmp_path / f"cut.{suffix}")


@pytest.mark.parametrize("first", [b"<", b"[", b"{"])
def test_a_header_whose_length_looks_like_text_is_no_text(
    state: State, tmp_path: Path, first: bytes
):
    """A safetensors file begins with its header's length, and old writers don't pad that to 8."""
    save_file(state, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length] + b" " * ((first[0] - length) % 256)
    (tmp_path / "x.pth").write_bytes(
        len(header).to_bytes(8, "little") + header + whole[8 + length :]
    )
    assert (tmp_path / "x.pth").read_bytes()[:1] == first
    assert loaded(tmp_path / "x.pth").sha256 == loaded(tmp_path / "x.safetensors").sha256


def test_a_folder_says_which_file_is_meant(tmp_path: Path):
    (tmp_path / "model.safetensors").touch()
    assert "is a folder: give the file in it, as model.safetensors" in refused(tmp_path)


def test_positions_of_another_side_are_resized_once_and_the_weights_keep_their_digest(
    state: State, tmp_path: Path
):
    torch.save(state, tmp_path / "x.pth")
    large: Any = timm.create_model(NAME, num_classes=0)
    large.load_state_dict(state)
    large.set_input_size((320, 320))
    torch.save(large.state_dict(), tmp_path / "large.pth")
    own, at_large, back = (
        backbones.load(spec)
        for spec in (
            f"{NAME}={tmp_path}/x.pth",
            f"{NAME}@320={tmp_path}/x.pth",
            f"{NAME}@320={tmp_path}/large.pth",
        )
    )
    assert own.sha256 == at_large.sha256 != back.sha256
    torch.testing.assert_close(at_large.vit.vit.pos_embed, large.pos_embed)
    assert torch.equal(back.vit.vit.state_dict()["pos_embed"], large.state_dict()["pos_embed"])
    assert (own.size, at_large.size, back.size) == (160, 320, 320)
    assert loaded(tmp_path / "large.pth").size == 160


def moco(dim: int = 64, side: int = 10) -> torch.Tensor:
    """MoCo v3's positions, place by place: an angle a frequency, the row's sines, its cosines, then
    the column's."""
    places = [[0.0] * dim]
    for row in range(side):
        for column in range(side):
            angles = [
                [place / 10000 ** (index / (dim // 4)) for index in range(dim // 4)]
                for place in (row, column)
            ]
            places.append(
                [wave(angle) for own in angles for wave in (np.sin, np.cos) for angle in own]
            )
    return torch.tensor([places], dtype=torch.float32)


def test_moco_v3s_name_takes_moco_v3s_weights_alone(state: State, tmp_path: Path):
    vit: Any = timm.create_model(NAME, num_classes=0)
    torch.save(
        {"state_dict": under("module.", {**state, "pos_embed": moco()})},
        tmp_path / "linear.pth.tar",
    )
    fill(vit, MOCO_V3, tmp_path / "linear.pth.tar")
    torch.testing.assert_close(vit.state_dict()["pos_embed"], moco())
    swapped = moco()[:, [0, *(1 + 10 * column + row for row in range(10) for column in range(10))]]
    for positions in (state["pos_embed"], swapped):
        torch.save({**state, "pos_embed": positions}, tmp_path / "other.pth")
        with pytest.raises(
            BadInput, match="MoCo v3's positions are fixed sines and cosines, and its aren't"
        ):
            fill(timm.create_model(NAME, num_classes=0), MOCO_V3, tmp_path / "other.pth")  # type: ignore[arg-type]


def test_moco_v3s_small_vit_has_other_heads_than_timms(tmp_path: Path):
    made: Any = VisionTransformer(img_size=160, embed_dim=96, depth=1, num_heads=6, num_classes=0)
    state = {**made.state_dict(), "pos_embed": moco(96)}
    torch.save(
        {"arch": "vit_small", "state_dict": under("module.base_encoder.", state)},
        tmp_path / "x.pth.tar",
    )
    with pytest.raises(BadInput, match="MoCo v3's small ViT has 12 heads, and mine 6"):
        fill(made, "mine", tmp_path / "x.pth.tar")


def test_the_dry_run_opens_the_file(tiny, tmp_path: Path):
    from rich.console import Console

    from harness.engine.progress import ProgressView

    torch.save(other(patch_size=32), tmp_path / "x.pth")
    spec = f"{NAME}@32={tmp_path / 'x.pth'}"
    with pytest.raises(BadInput, match="patches of 32 x 32"):
        preview(
            tiny.request("linear", backbone=spec),
            ProgressView(Console()).stage,
        )
