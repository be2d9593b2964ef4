"""What a method and a head may use of any backbone. Each family of backbones has a forward of its
own behind it, in a file of its own."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

from harness.backbones.changes import (
    AS_LOADED,
    acts_on_each_token,
    described,
    is_as_loaded,
    is_hooked,
)
from harness.data.normalization import IMAGENET, Statistics
from harness.errors import BadInput

B = TypeVar("B", bound="FrozenBackbone")

ONE_COLUMN = frozenset(
    {"prompts", "column", "halves", "projections", "kv", "queries", "temperature"}
)
"""What a column of attention blocks carries where positions are in its tokens alone."""

Pooling = Literal["cls", "avg", "map", "cls+dist", "vpt-mae", "avg+prompts"]
"""How features come from tokens, after the backbone's norm: CLS; the mean of the image tokens; what
the backbone's own attention pooling makes of them; the mean of the tokens for the class and for
distillation. Or as VPT does with MAE's weights: the mean of the image tokens and the prompts'
outputs, then a layer norm without weights (eps 1e-6); the checkpoint's norm isn't used. Or, as VPT
does with Swin, the mean of both after the backbone's norm."""

Rows = Literal["cls", "prefix", "image", "prefix+image", "image+prompts"]
"""The CLS row, all rows before the image, those of the image, both, or those of the image and what
the last block makes of prompts."""

KeysValues = tuple[Tensor, Tensor]
"""Keys and values behind the projection, each (head, n, head_dim) for all images, or (batch, head,
n, head_dim). The same tensor may stand for both."""


@dataclass(frozen=True)
class Read:
    """What a head reads: the outputs of `blocks` (0-based, ascending), at some rows."""

    blocks: tuple[int, ...]
    rows: Rows


class FrozenBackbone(nn.Module):
    """A timm model in eval mode without gradients for its weights, open between its blocks.

    Rows never have the last norm: that is in `pool`.
    """

    family: str
    """Of backbones that are computed in the same way."""
    carries: frozenset[str]
    """What a method may need and it has: words of `harness.backbones.carried.CAN`."""
    branches: tuple[str, ...] = ("drop_path1", "drop_path2")
    """What drops the paths of a block, by timm's names."""

    dim: int
    """Width of the features that `pool` gives, and of the last block's rows."""
    widths: tuple[int, ...]
    """Of each block's rows."""
    prefix: int
    """Rows in front of the image: CLS and registers."""
    image_tokens: int
    """Rows of the image in the last block."""
    grid: tuple[int, int]
    """The same down and across."""
    patch_size: tuple[int, int]
    """Of the first tokens, in pixels; of a ConvNet, the stride of its last map."""
    image_size: int
    """Side of the square images it takes, in pixels."""

    def __init__(self, vit: nn.Module, pooling: Pooling):
        super().__init__()
        self.vit: Any = vit.requires_grad_(False).eval()
        """timm's own model, with its `blocks`."""
        for module in vit.modules():
            module.__dict__.setdefault(AS_LOADED, type(module).forward)
        self.pooling: Pooling = pooling
        self.name = "the backbone"
        """What a user calls it: for messages."""
        self.statistics: Statistics = IMAGENET
        """What was taken out of the pixels that it is given: for methods whose prompts are
        pixels."""
        self.embedded = 0
        """Images that were embedded so far: what a method's own passes are counted by."""

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.blocks)

    @property
    def blocks(self) -> list[Any]:
        """timm's blocks, the first one first."""
        return list(self.vit.blocks)

    def train(self, mode: bool = True) -> "FrozenBackbone":
        """What the backbone came with stays in eval mode: its dropout and stochastic depth are off
        while prompts train.

        What a method has put into it follows `mode`: its own dropout and drop-path act while it
        trains.
        """
        super().train(mode)
        self.training = False
        for module in self.vit.modules():
            if AS_LOADED in module.__dict__:
                module.training = False
        for module in self.vit.modules():  # attention asks for its own mode, not its dropout's
            if isinstance(dropout := getattr(module, "attn_drop", None), nn.Module):
                module.training = dropout.training
        return self

    def drop_paths(self, rate: float) -> None:
        """Stochastic depth, as timm has it: while training, each image skips a block's attention
        or MLP with a probability that rises from 0 in the first block to `rate` in the last; a
        ConvNet's residual branch likewise.

        For a copy that no method has changed yet: what a method then wraps or replaces is its
        own.
        """
        rates = torch.linspace(0, rate, self.depth, device="cpu")
        for index, block in enumerate(self.blocks):
            if (of_block := float(rates[index])) > 0:
                for name in self.branches:
                    setattr(block, name, DropPath(of_block))

    def at(self: B, side: int) -> B:
        """The same weights for square images of another side, rounded down to whole patches; what
        it knows of positions is resized, by timm.

        The weights are shared, not copied; but for tables of positions that are resized.
        """
        side -= side % self.patch_size[0]
        if side < 1:
            raise BadInput(
                f"a backbone with {patches_of(self.vit)} can't take images that are smaller."
            )
        if side == self.image_size:
            return self
        other = copy.deepcopy(
            self.vit, {id(parameter): parameter for parameter in self.vit.parameters()}
        )
        resize(other, side)
        sized = type(self)(other, self.pooling)
        sized.statistics, sized.name = self.statistics, self.name
        return sized

    def read(self) -> Read:
        """What pooling needs of the last block."""
        rows: dict[Pooling, Rows] = {
            "cls": "cls",
            "cls+dist": "prefix",
            "avg": "image",
            "map": "image",
            "vpt-mae": "image+prompts",
            "avg+prompts": "image+prompts",
        }
        return Read((self.depth - 1,), rows[self.pooling])

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
        """Patches with their positions, behind CLS and register tokens: what the first block takes.

        Raises `ValueError` for a change of the backbone that would not be seen: see `check`.
        """
        raise NotImplementedError

    def block(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
        kv: KeysValues | None = None,
        temperature: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """The output of block `index` at `rows` of `tokens`; `prompts` are seen by all of them and
        give no output.

        `kv`: keys and values that join those of tokens and prompts as they are, without norm and
        projection. `temperature` divides the attention's logits, of all rows.
        """
        raise NotImplementedError

    def block_and_saliency(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
        kv: KeysValues | None = None,
        temperature: Float[Tensor, ""] | None = None,
    ) -> tuple[Float[Tensor, "batch row dim"], Float[Tensor, "batch image"]]:
        """As `block`, and how much CLS attends to each image token: the mean over heads of its
        softmax over all keys, prompts included.

        No gradient flows through the second value.
        """
        raise NotImplementedError

    def block_and_queries(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        queries: Float[Tensor, "query dim"] | Float[Tensor, "batch query dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
        kv: KeysValues | None = None,
        temperature: Float[Tensor, ""] | None = None,
    ) -> tuple[Float[Tensor, "batch row dim"], Float[Tensor, "batch query dim"]]:
        """As `block`, and what it makes of `queries`: rows that ask and aren't asked. They see what
        the tokens see, and not one another.

        Where no gradient flows to the tokens, none is computed for them either.
        """
        raise NotImplementedError

    def attend(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
        kv: KeysValues | None = None,
        temperature: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """The first half of `block`: attention and its residual. Raises `ValueError` for a block
        that a method has changed."""
        raise NotImplementedError

    def feed(
        self, index: int, tokens: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch row dim"]:
        """The second half of `block`: the MLP and its residual. Raises as `attend`."""
        raise NotImplementedError

    def project(
        self,
        index: int,
        rows: Float[Tensor, "batch row dim"],
        parts: Literal["q", "k", "v", "kv", "qkv"],
    ) -> list[Float[Tensor, "batch head row head_dim"]]:
        """Block `index`'s frozen projections of `rows`, which its norm hasn't seen unless the
        caller did that: one tensor a letter of `parts`. Where a backbone has norms of queries and
        keys, these are behind them."""
        raise NotImplementedError

    def mix(
        self,
        index: int,
        q: Float[Tensor, "batch head row head_dim"],
        k: Float[Tensor, "batch head key head_dim"],
        v: Float[Tensor, "batch head key head_dim"],
        temperature: Float[Tensor, ""] | None = None,
    ) -> Float[Tensor, "batch row dim"]:
        """What block `index`'s attention makes of projected queries, keys and values, behind its
        output projection; without layer scale, drop-path and residual. Queries may be of some rows
        alone."""
        raise NotImplementedError

    def run(
        self,
        tokens: Float[Tensor, "batch token dim"],
        read: Read,
        prompts: (
            Sequence[Float[Tensor, "prompt _"] | Float[Tensor, "batch prompt _"] | None] | None
        ) = None,
        kv: Sequence[KeysValues | None] | None = None,
    ) -> list[Float[Tensor, "batch row _"]]:
        """All blocks that a head needs, one after the other, with `prompts[l]` and `kv[l]` at block
        l, where they aren't None: the tokens that the head asks for."""
        selected: list[Tensor] = []
        for index in range(read.blocks[-1] + 1):
            tokens, own = self.place(
                index, tokens, prompts[index] if prompts is not None else None, read
            )
            tokens = self.block(
                index, tokens, own, self.rows(index, read), kv[index] if kv is not None else None
            )
            selected += self.select(index, tokens, read)
        return selected

    def place(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Tensor | None,
        read: Read,
    ) -> tuple[Float[Tensor, "batch row dim"], Tensor | None]:
        """Tokens and prompts as block `index` takes them: prompts join the tokens where the head
        reads what the block makes of them."""
        if prompts is None or read.rows != "image+prompts" or index < read.blocks[-1]:
            return tokens, prompts
        return behind(tokens, prompts), None

    def rows(self, index: int, read: Read) -> slice:
        """The rows that block `index` must compute: all of them, but in the last block that the
        head reads only the head's."""
        return self._span(read.rows) if index == read.blocks[-1] else slice(None)

    def select(
        self, index: int, tokens: Float[Tensor, "batch token dim"], read: Read
    ) -> list[Float[Tensor, "batch row dim"]]:
        """What the head reads of block `index`, given its output (of the last block that the head
        reads, at `rows` alone): a list of one tensor, or of none."""
        if index not in read.blocks:
            return []
        return [tokens if index == read.blocks[-1] else tokens[:, self._span(read.rows)]]

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        """The backbone's features from rows as the last block gives them, with its last norm.

        Of one row alone (`tokens[:, -1:]`), it is that row with the norm.
        """
        raise NotImplementedError

    def pool_with_own_norm(
        self, tokens: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch dim"]:
        """As `pool`, but with MAE's weights the checkpoint's norm behind the mean, where VPT's code
        has one without weights."""
        return self.pool(tokens)

    def check(self) -> None:
        """Raises `ValueError` where a method has changed what isn't called, since blocks are called
        one by one: the whole model's own forward, and that of what holds them."""
        inside = [
            f"vit.{name}"
            for name in ("forward", "forward_features", "forward_head")
            if name in self.vit.__dict__
        ]
        hooked = [
            name
            for name, module in {type(self).__name__: self, **self._uncalled()}.items()
            if is_hooked(module)
        ]
        if inside or hooked:
            raise ValueError(
                f"{(inside + hooked)[0]} was changed or hooked, but isn't called: blocks are called"
                " one by one. Change or hook vit.patch_embed, a block or a part of one; or write"
                " the method's own forward()"
            )

    def _check_norms(self, *names: str) -> None:
        """Raises `ValueError` where a method has changed a last norm so that it may not act on each
        token by itself."""
        for name in names:
            module = getattr(self.vit, name)
            if not acts_on_each_token(module):
                raise ValueError(
                    f"vit.{name} was changed to {described(module)}, which would see only the rows"
                    " that the head reads: set each_token = True on it where it acts on each token"
                    " by itself"
                )

    def _check_containers(self, instead: str) -> None:
        """Raises `ValueError` where a method has replaced or changed what only holds blocks; a
        message names what may be changed `instead`."""
        for name, module in self._uncalled().items():
            if name != "vit" and not is_as_loaded(module):
                raise ValueError(
                    f"{name} is {described(module)}, but isn't called: blocks are called one by"
                    f" one. Change or hook {instead}"
                )

    def _uncalled(self) -> dict[str, nn.Module]:
        """Modules of timm's that are never called as they are, by name."""
        return {"vit": self.vit, "vit.blocks": self.vit.blocks}

    def _span(self, rows: Rows) -> slice:
        image = self.prefix + self.image_tokens
        places: dict[Rows, tuple[int, int | None]] = {
            "cls": (0, 1),
            "prefix": (0, self.prefix),
            "image": (self.prefix, image),
            "prefix+image": (0, image),
            "image+prompts": (self.prefix, None),
        }
        return slice(*places[rows])


def is_convnet(vit: Any) -> bool:
    """Whether a timm model makes no patches, and takes images of any side."""
    return not hasattr(vit, "patch_embed")


def side_of(vit: Any) -> int:
    """Of the square images that a timm model takes, in pixels."""
    if is_convnet(vit):  # what it was trained with
        return getattr(vit, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[1]
    return vit.patch_embed.img_size[0]


def patch_of(vit: Any) -> int:
    """Side of a timm model's patches, in pixels; of a ConvNet, the stride of its last map."""
    return vit.feature_info[-1]["reduction"] if is_convnet(vit) else vit.patch_embed.patch_size[0]


def patches_of(vit: Any) -> str:
    """The same in words."""
    said = "a stride" if is_convnet(vit) else "patches"
    return f"{said} of {patch_of(vit)} pixels"


def resize(vit: Any, side: int) -> None:
    """Sets a timm model to square images of another side, in place."""
    if is_convnet(vit):
        vit.pretrained_cfg = {**getattr(vit, "pretrained_cfg", {}), "input_size": (3, side, side)}
        return
    with warnings.catch_warnings():
        # of torch, about how timm resizes BEiT's biases and Swin's tables
        warnings.simplefilter("ignore", UserWarning)
        vit.set_input_size((side, side))


def behind(tokens: Tensor, prompts: Tensor | None) -> Tensor:
    """Prompts as rows behind the tokens of each image."""
    if prompts is None:
        return tokens
    return torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1)
