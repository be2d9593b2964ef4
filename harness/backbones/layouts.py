"""Tensors under the names of whoever wrote them become a timm model's; what doesn't fit is refused
by what it is.

Known: timm's own names (MAE, MoCo v3, DINO, DINOv2, DeiT, SAM and torchvision's ResNets have them
too), the original .npz files', Hugging Face's ViT and DINOv2, CLIP's image tower, and Swin's and
ConvNeXt's own; behind any prefix.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backbones.files import listed, tensors_of
from harness.backbones.names import MOCO_V3
from harness.errors import BadInput
from harness.tasks.cards import LARGEST_CROP

if TYPE_CHECKING:
    from torch import Tensor, nn

_PAIRS = "relative_position_bias_table"
PATCHES = (
    "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.weight",
    "embedding/kernel",
    "conv1.weight",
)
"""What the patch embedding is called: timm's, Hugging Face's, the original files', CLIP's. What
stands before it is a wrapper's."""
STEMS = {
    "stem.0.weight": "stages.0.",
    "downsample_layers.0.0.weight": "stages.0.",
    "conv1.weight": "layer1.0.",
    "conv1.0.weight": "layer1.0.",
}
"""What a ConvNet's first convolution is called: ConvNeXt's in timm and in its authors' files, and
ResNet's; and what its first stage's names begin with."""
COUNTER = "num_batches_tracked"
"""What batch norms count in training: predictions don't depend on it, and old files lack it."""
OLDER = {
    "momentum_encoder": "base_encoder",
    "encoder_k": "encoder_q",
    "student": "teacher",
    "model": "model_ema",
}
"""Of two backbones in a file, the one that isn't meant beside the one that is."""
LEFT_OUT = (
    "head",
    "heads",
    "head_dist",
    "fc",
    "classifier",
    "pooler",
    "pre_logits",
    "mask_token",
    "proj",
    "projector",
    "predictor",
    "decoder_embed",
    "decoder_pos_embed",
    "decoder_blocks",
    "decoder_norm",
    "decoder_pred",
    "dino_head",
    "ibot_head",
    "projection_head",
    "prototypes",
)
"""First parts of names that aren't the encoder's: heads, MAE's decoder, tokens of pretraining
alone."""


def fill(vit: "nn.Module", name: str, file: Path) -> None:
    """Puts a file's weights into `vit`, set to the side of the file's positions. Raises `BadInput`;
    then `vit` is of no use."""
    from harness.backbones.frozen import is_convnet

    tensors, top = tensors_of(file, name)
    convolutional = is_convnet(vit)
    inside, prefix = encoder(tensors, convolutional)
    kind = "ConvNet" if convolutional else "Vision Transformer"
    try:
        if not inside:
            wrong = f"it holds no {kind} that is known, but {listed(tensors)}"
        elif convolutional:
            wrong = _loaded(vit, _by_timm(inside, vit))
        else:
            wrong = _put(vit, name, inside, top)
    except Exception as error:
        # somebody's tensors may have any shape, and torch raises many kinds for it
        wrong = f"its tensors have shapes that no ViT has ({' '.join(str(error).split())[:120]})"
    if wrong:
        raise BadInput(
            f"backbone {name}: {file} doesn't fit:"
            f" {wrong}{f' (behind {prefix})' if prefix else ''}."
        )


def _put(vit: Any, name: str, inside: "Mapping[str, Tensor]", top: Mapping[str, Any]) -> str:
    """Fills a Vision Transformer, or says what doesn't fit."""
    weights = renamed(inside)
    if hasattr(vit, "layers"):
        weights = _swin(weights)
    elif not _is_plain(vit):
        # what timm would resize in silence, before it does
        if wrong := _patches(vit, name, inside) or _resize(vit, inside):
            return wrong
        weights = _by_timm(inside, vit)
    if (
        wrong := _shape(vit, name, weights)
        or _heads(inside, top, vit, name)
        or _resize(vit, weights)
    ):
        return wrong
    if name == MOCO_V3 and not _moco_positions(weights["pos_embed"]):
        return "MoCo v3's positions are fixed sines and cosines, and its aren't"
    return _loaded(vit, weights)


def _loaded(vit: Any, weights: "Mapping[str, Tensor]") -> str:
    """Puts in tensors that have timm's names, or says which of them are missing or of another
    shape."""
    expected = {key: value for key, value in vit.state_dict().items() if not key.endswith(COUNTER)}
    weights = {
        key: value
        for key, value in weights.items()
        if key in expected or (key.split(".")[0] not in LEFT_OUT and not key.endswith(COUNTER))
    }
    missing, extra = (
        [key for key in keys if key not in others]
        for keys, others in ((expected, weights), (weights, expected))
    )
    other = [
        key
        for key, value in weights.items()
        if key in expected and value.shape != expected[key].shape
    ]
    said = [
        f"it {verb} {listed(keys, 3)}"
        for verb, keys in (("lacks", missing), ("has an extra", extra))
        if keys
    ]
    said += [
        f"its {key} is {_size(weights[key])}, and not {_size(expected[key])}" for key in other[:1]
    ]
    said += [f"{key} {what}" for key in weights if (what := _useless(key, weights[key]))][:1]
    if said:
        return "; ".join(said)
    vit.load_state_dict({key: value.float() for key, value in weights.items()}, strict=False)
    return ""


def _is_plain(vit: Any) -> bool:
    """Whether it has the plain Vision Transformer's names, which others' are brought to here."""
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(vit, VisionTransformer)


def _by_timm(tensors: "Mapping[str, Tensor]", vit: Any) -> "dict[str, Tensor]":
    """By the names that timm has for a model of another class: its own, or those of its authors'
    files, as timm reads them."""
    read = getattr(import_module(type(vit).__module__), "checkpoint_filter_fn", None)
    if read is None:  # ResNet's files all have the same names
        return dict(tensors)
    with redirect_stdout(StringIO()):
        return read(dict(tensors), vit)


def encoder(
    tensors: "Mapping[str, Tensor]", convolutional: bool = False
) -> "tuple[dict[str, Tensor] | None, str]":
    """The tensors of the one ViT in a file, or of the one ConvNet, without what stands before their
    names; and that. None where there is none, or several."""
    prefixes = _convnets(tensors) if convolutional else _vits(tensors)
    meant = [prefix for prefix in prefixes if not _older(prefix, prefixes)]
    if len(meant) != 1:
        return None, ""
    return {
        key[len(meant[0]) :]: value for key, value in tensors.items() if key.startswith(meant[0])
    }, meant[0]


def _vits(tensors: "Mapping[str, Tensor]") -> list[str]:
    """What stands before the names of each ViT."""
    return [
        one
        for one in _before(tensors, PATCHES)
        if f"{one}conv1.weight" not in tensors or f"{one}class_embedding" in tensors
    ]


def _convnets(tensors: "Mapping[str, Tensor]") -> list[str]:
    stages = set(STEMS.values())
    return [
        one
        for one in _before(tensors, STEMS)
        if any(key.startswith(one + stage) for stage in stages for key in tensors)
    ]


def _before(tensors: Iterable[str], ends: Iterable[str]) -> list[str]:
    """What stands before names that end so, each once."""
    found = [
        key[: -len(end)]
        for end in ends
        for key in tensors
        if key.endswith(end) and key[: -len(end)][-1:] in ("", ".", "/")
    ]
    return list(dict.fromkeys(found))


def _older(prefix: str, others: list[str]) -> bool:
    return any(
        old in prefix.split(".") and prefix.replace(old, new) in others
        for old, new in OLDER.items()
    )


def renamed(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """By timm's names, in timm's shapes."""
    if "embedding/kernel" in tensors:
        return _original(tensors)
    if "embeddings.patch_embeddings.projection.weight" in tensors:
        tensors = _hugging_face(tensors)
    elif "class_embedding" in tensors:
        tensors = _clip(tensors)
    found: dict[str, Tensor] = {}
    for key, value in tensors.items():
        key = re.sub(r"\.gamma_([12])$", r".ls\1.gamma", key)
        key = re.sub(r"\.mlp\.w12\.", ".mlp.fc1.", re.sub(r"\.mlp\.w3\.", ".mlp.fc2.", key))
        # a linear map of whole patches, as in older files
        if key == "patch_embed.proj.weight" and value.ndim == 2:
            value = value.reshape(len(value), 3, *(2 * (round((value.shape[1] / 3) ** 0.5),)))
        found[key] = value
    # DINOv2's: CLS has a position, which timm has added to it; registers have none
    if "register_tokens" in found:
        positions = found["pos_embed"]
        found["cls_token"], found["pos_embed"] = (
            found["cls_token"] + positions[:, :1],
            positions[:, 1:],
        )
        found["reg_token"] = found.pop("register_tokens")
    return found


def _original(arrays: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """From the names and shapes of the original ViT's and AugReg's .npz files, and of Big Vision's
    with blocks one by one."""
    import torch

    found = {
        "patch_embed.proj.weight": arrays["embedding/kernel"].permute(3, 2, 0, 1),
        "patch_embed.proj.bias": arrays["embedding/bias"],
        "pos_embed": arrays[
            (
                "pos_embedding"
                if "pos_embedding" in arrays
                else "Transformer/posembed_input/pos_embedding"
            )
        ],
    }
    if "cls" in arrays:
        found["cls_token"] = arrays["cls"]
    for theirs, ours in (("scale", "weight"), ("bias", "bias")):
        found[f"norm.{ours}"] = arrays[f"Transformer/encoder_norm/{theirs}"]
    for index in sorted(
        {
            int(block)
            for key in arrays
            for block in re.findall(r"Transformer/encoderblock_(\d+)/", key)
        }
    ):
        of, to = f"Transformer/encoderblock_{index}/", f"blocks.{index}."
        attention, mlp, second = (
            ("MultiHeadDotProductAttention_1", "MlpBlock_3", "LayerNorm_2")
            if f"{of}MlpBlock_3/Dense_0/kernel" in arrays
            else ("MultiHeadDotProductAttention_0", "MlpBlock_0", "LayerNorm_1")
        )
        parts = [f"{of}{attention}/{part}/" for part in ("query", "key", "value")]
        found[f"{to}attn.qkv.weight"] = torch.cat(
            [arrays[f"{part}kernel"].flatten(1).T for part in parts]
        )
        found[f"{to}attn.qkv.bias"] = torch.cat([arrays[f"{part}bias"].flatten() for part in parts])
        found[f"{to}attn.proj.weight"] = arrays[f"{of}{attention}/out/kernel"].flatten(0, 1).T
        found[f"{to}attn.proj.bias"] = arrays[f"{of}{attention}/out/bias"]
        for theirs, ours in (("LayerNorm_0", "norm1"), (second, "norm2")):
            found |= {
                f"{to}{ours}.weight": arrays[f"{of}{theirs}/scale"],
                f"{to}{ours}.bias": arrays[f"{of}{theirs}/bias"],
            }
        for theirs, ours in (("Dense_0", "mlp.fc1"), ("Dense_1", "mlp.fc2")):
            found |= {
                f"{to}{ours}.weight": arrays[f"{of}{mlp}/{theirs}/kernel"].T,
                f"{to}{ours}.bias": arrays[f"{of}{mlp}/{theirs}/bias"],
            }
    return found


_HUGGING_FACE = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.(cls_token|mask_token|register_tokens)$", r"\1"),
    (r"^(?:encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"\.attention\.(?:attention\.)?(?:q_proj|query)\.", ".attn.q."),
    (r"\.attention\.(?:attention\.)?(?:k_proj|key)\.", ".attn.k."),
    (r"\.attention\.(?:attention\.)?(?:v_proj|value)\.", ".attn.v."),
    (r"\.attention\.(?:output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.(?:layernorm_before)\.", ".norm1."),
    (r"\.(?:layernorm_after)\.", ".norm2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"^(blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
"""Names of Hugging Face's ViT and DINOv2, of its versions 4 and 5, and timm's."""


def _hugging_face(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    import torch

    found = {_named(key, _HUGGING_FACE): value for key, value in tensors.items()}
    for key in [key for key in found if ".attn.q." in key]:
        parts = [found.pop(key.replace(".attn.q.", f".attn.{part}.")) for part in "qkv"]
        found[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
    return found


_CLIP = (
    (r"^conv1\.", "patch_embed.proj."),
    (r"^class_embedding$", "cls_token"),
    (r"^positional_embedding$", "pos_embed"),
    (r"^ln_pre\.", "norm_pre."),
    (r"^ln_post\.", "norm."),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def _clip(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    found = {_named(key, _CLIP): value for key, value in tensors.items()}
    found["cls_token"] = found["cls_token"].reshape(1, 1, -1)
    if "pos_embed" in found:
        found["pos_embed"] = found["pos_embed"][None]
    return found


def _named(key: str, table: Sequence[tuple[str, str]]) -> str:
    """By timm's names, by a table of patterns."""
    for theirs, ours in table:
        key = re.sub(theirs, ours, key)
    return key


def _shape(vit: Any, name: str, weights: "Mapping[str, Tensor]") -> str:
    """Where the file is of another patch size, width or depth than the name: which, and which are
    the name's."""
    if wrong := _patches(vit, name, weights):
        return wrong
    if ("dist_token" in weights) != hasattr(vit, "dist_token"):
        return f"it {'has an extra' if 'dist_token' in weights else 'lacks'} dist_token"
    depth, expected = _blocks(weights), _blocks(vit.state_dict())
    pools = any(key.startswith("attn_pool.") for key in weights)
    if pools != (getattr(vit, "attn_pool", None) is not None):
        ours, theirs = ("doesn't", "does") if pools else ("does", "doesn't")
        return f"it {theirs} pool by attention, and {name} {ours}"
    if depth != expected:
        return f"it has {depth} blocks, and {name} {expected}"
    return ""


def _patches(vit: Any, name: str, weights: "Mapping[str, Tensor]") -> str:
    """As `_shape`, of patches and width alone."""
    patch, own = weights.get("patch_embed.proj.weight"), vit.patch_embed.proj.weight
    if patch is not None and patch.ndim == 4 and patch.shape[2:] != own.shape[2:]:
        return (
            f"it has patches of {patch.shape[2]} x {patch.shape[3]} pixels, and {name} of"
            f" {own.shape[2]} x {own.shape[3]}"
        )
    if patch is not None and patch.shape[0] != own.shape[0]:
        return f"it is {patch.shape[0]} wide, and {name} {own.shape[0]}"
    return ""


def _blocks(tensors: Iterable[str]) -> int:
    return len(
        {one for key in tensors for one in re.findall(r"^(?:layers\.\d+\.)?blocks\.\d+\.", key)}
    )


def _heads(tensors: "Mapping[str, Tensor]", top: Mapping[str, Any], vit: Any, name: str) -> str:
    """Where a file says how many heads its attention has, and they aren't the name's: no shape of a
    fused projection would."""
    if hasattr(vit, "layers"):
        return ""
    own = vit.blocks[0].attn.num_heads
    kernel = next((value for key, value in tensors.items() if key.endswith("/query/kernel")), None)
    if kernel is not None and kernel.ndim == 3 and kernel.shape[1] != own:
        return f"its attention has {kernel.shape[1]} heads, and {name}'s {own}"
    positions = tensors.get("pos_embed")
    if (
        top.get("arch") == "vit_small"
        and positions is not None
        and own == 6
        and _moco_positions(positions)
    ):
        return f"MoCo v3's small ViT has 12 heads, and {name} {own}"
    return ""


def _resize(vit: Any, weights: "Mapping[str, Tensor]") -> str:
    """Sets `vit` to the side that the file's positions are of, so that they go in as they are; or
    says what is wrong with them."""
    if hasattr(vit, "layers"):
        return _windows(vit, weights)
    from harness.backbones.frozen import resize

    if "pos_embed" not in weights or vit.pos_embed is None:
        if not _is_plain(vit) and "pos_embed" in weights:
            return "it has an extra pos_embed"
        table = next((value for key, value in weights.items() if key.endswith(_PAIRS)), None)
        if table is None:
            return ""
        # of pairs of places, and three for CLS
        places = round((round(max(len(table) - 3, 0) ** 0.5) + 1) / 2) ** 2
    else:
        alone = getattr(vit, "no_embed_class", False)
        places = weights["pos_embed"].shape[1] - (0 if alone else vit.num_prefix_tokens)
    if places == vit.patch_embed.num_patches:
        return ""
    side = round(max(places, 0) ** 0.5)
    if side < 1 or side * side != places:
        return (
            f"its position embedding has {weights['pos_embed'].shape[1]} places, which are no"
            " square and the tokens before it"
        )
    pixels = side * vit.patch_embed.patch_size[0]
    if pixels > LARGEST_CROP:
        return f"its position embedding is for images of {pixels} pixels, above {LARGEST_CROP}"
    resize(vit, pixels)
    return ""


SWIN_TABLES = ("attn_mask", "relative_position_index", "relative_coords_table", "attn.k_bias")
"""What files of Swin Transformers hold that follows from their shape."""


def _swin(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """From the names of Swin's own files, where a stage ends with the merging that begins the next
    one in timm."""
    moved = "layers.0.downsample.reduction.weight" in tensors
    return {
        re.sub(
            r"(?<=^layers\.)\d+(?=\.downsample\.)", lambda stage: str(int(stage[0]) + moved), key
        ): value
        for key, value in tensors.items()
        if not key.endswith(SWIN_TABLES)
    }


def _windows(vit: Any, weights: "Mapping[str, Tensor]") -> str:
    """Where a file's tables are of other windows than the name's: which, and which are the
    name's."""
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    own, found = vit.state_dict().get(key), weights.get(key)
    if own is None or found is None or own.shape[0] == found.shape[0] or found.ndim != 2:
        return ""
    sides = [round(len(table) ** 0.5 + 1) // 2 for table in (found, own)]
    return f"its windows are {sides[0]} tokens wide, and the name's {sides[1]}"


def _useless(key: str, value: "Tensor") -> str:
    """What is wrong with a tensor's values; empty where nothing is."""
    import torch

    if not value.is_floating_point() or value.layout != torch.strided:
        return (
            f"holds {str(value.dtype).removeprefix('torch.')} values: quantized or sparse weights"
            " aren't read"
        )
    if not torch.isfinite(value).all():
        return "has values that are no finite numbers"
    return (
        "is all zeros: these are no trained weights"
        if key.endswith("weight") and value.ndim > 1 and not value.any()
        else ""
    )


def _moco_positions(positions: "Tensor") -> bool:
    """Whether they are MoCo v3's: CLS at zero; then sines and cosines of the row, in quarters of
    the width, and those of the column."""
    import torch

    dim, count = positions.shape[2], positions.shape[1] - 1
    side = round(count**0.5)
    if side * side != count or dim % 4:
        return False
    angles = torch.arange(side)[:, None] * 10000.0 ** (-torch.arange(dim // 4) / (dim // 4))
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    fixed = torch.cat(
        [waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)], 2
    ).reshape(count, dim)
    return bool(
        (positions[0, 0].abs().max() < 0.01)
        and (positions[0, 1:].float() - fixed).abs().max() < 0.01
    )


def _size(tensor: "Tensor") -> str:
    return " x ".join(map(str, tensor.shape))
