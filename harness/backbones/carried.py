"""What a method may need of a backbone, and what is said where that isn't there."""

from collections.abc import Iterable

from harness.errors import BadInput

CAN = {
    "plain blocks": "the blocks of a plain Vision Transformer",
    "prompts": "tokens that prompts can join",
    "cls": "a class token",
    "column": "blocks of one width and one grid",
    "halves": "blocks that come in two halves, attention and MLP",
    "projections": "queries and keys without positions in them",
    "kv": "attention that keys and values can join",
    "saliency": "a class token's attention to the image",
    "queries": "attention that rows of the method's own can ask",
    "temperature": "attention with a temperature",
    "linear maps": "blocks with the linear maps qkv, proj, fc1 and fc2",
    "operations": "linear maps, norms and convolutions that are called one by one",
    "convolutions": "residual blocks of convolutions",
}
"""The words of `Method.needs` and `FrozenBackbone.carries`, and what a message calls them:

- `plain blocks`: `vit.blocks` are timm's `Block`, which may be called one by one.
- `prompts`: `block` and `run` take prompts, and rows of a method's own may travel behind the image.
- `cls`: row 0 is a class token.
- `column`: all blocks have rows of the width `dim` and the image's `grid`.
- `halves`: `attend` and `feed`; blocks have `norm1`, `norm2`, `drop_path1` and `drop_path2`.
- `projections`: `project` and `mix`, from which a method may make attention of its own.
- `kv`: `block` and `run` take keys and values.
- `saliency`: `block_and_saliency`.
- `queries`: `block_and_queries`.
- `temperature`: `block` takes a temperature.
- `linear maps`: in every block, `attn.qkv`, `attn.proj`, `mlp.fc1` and `mlp.fc2` are `nn.Linear`,
  and what a method puts in the place of one is called.
- `operations`: what a method puts in the place of any linear map, norm or convolution is called.
- `convolutions`: `blocks` are timm's of ConvNeXt or ResNet, on maps (batch, channel, height,
  width), and what a method puts in the place of a part is called.
"""


class Uncarried(BadInput, ValueError):
    """A method needs of a backbone what it doesn't carry."""


def lacking(needs: Iterable[str], backbone: str, carries: Iterable[str]) -> str:
    """What a method needs and a backbone lacks, and that it does; empty where it lacks nothing."""
    word = next((word for word in needs if word not in carries), None)
    return "" if word is None else f"{CAN[word]}, which {backbone} doesn't have"
