"""The shared forward of a frozen timm Vision Transformer whose blocks take prompts.

A prompt whose output is dropped after its block acts on the image only through its key and its
value. So such prompts enter a block as extra keys and values: no query, no attention output and no
MLP row is computed for them, and where they are the same for all images their norm and projection
are computed once a batch. The last block computes only the rows that the head reads. The result is
that of concatenating the prompts to the tokens and dropping their outputs;
`tests/harness/backbones/test_vit.py` holds both side by side.

That holds while every part of a block acts on each token by itself. A block in which a method has
changed a part that may do otherwise (another `attn`, a hook, a module of its own that doesn't say
`each_token = True`) is computed as timm does, all rows of it, prompts concatenated: slower and
never ignored. `tests/harness/backbones/test_vit_changed_blocks.py` holds every such way to timm's
own loop.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.layers.drop import DropPath
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from harness.errors import BadInput

Pooling = Literal["cls", "avg", "vpt-mae"]
"""How features come from tokens: CLS, or the mean of the image tokens, after the backbone's norm.
Or as VPT does with MAE's weights: the mean of the image tokens and the prompts' outputs, then a
layer norm without weights (eps 1e-6); the checkpoint's norm isn't used."""

COVERED = (
    "ViT-B/L/H and smaller with weights of AugReg, the original ViT, SAM, MAE, DINO, DINOv2"
    " (registers too), CLIP or DeiT"
)


@dataclass(frozen=True)
class Read:
    """What a head reads: the outputs of `blocks` (0-based, ascending), at some rows."""

    blocks: tuple[int, ...]
    rows: Literal["cls", "image", "image+prompts"]
    """The CLS row, all image rows, or these and the last block's outputs at the prompts."""


class FrozenViT(nn.Module):
    """A timm ViT in eval mode without gradients for its weights, open between its blocks.

    Tokens are ordered [CLS, registers, image, travelling prompts]. VPT writes prompts between CLS
    and image; attention doesn't see the order, since position embeddings are added before, and so
    every row keeps its place whether prompts are there or not.
    """

    def __init__(self, vit: VisionTransformer, pooling: Pooling = "cls"):
        super().__init__()
        foreign = _foreign(vit)
        if foreign:
            raise BadInput(
                f"a backbone with {foreign} is not covered. Covered are timm's plain Vision"
                f" Transformers: {COVERED}."
            )
        self.vit = vit.requires_grad_(False).eval()
        for module in vit.modules():
            module.__dict__.setdefault(AS_LOADED, type(module).forward)
        self.pooling: Pooling = pooling
        self.dim = vit.embed_dim
        self.prefix = vit.num_prefix_tokens
        parts: Any = vit
        patches = parts.patch_embed
        self.image_tokens: int = patches.num_patches
        self.grid: tuple[int, int] = patches.grid_size
        """Image tokens down and across."""
        self.patch_size: tuple[int, int] = patches.patch_size
        self.image_size: int = patches.img_size[0]
        """Side of the square images it takes, in pixels."""
        if pooling == "cls" and vit.cls_token is None:
            raise BadInput(
                f"a backbone without a CLS token that pools by '{vit.global_pool}' is not covered,"
                " only by 'avg'."
            )

    @property
    def depth(self) -> int:
        """The number of blocks."""
        return len(self.vit.blocks)

    def train(self, mode: bool = True) -> "FrozenViT":
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
        for module in self.vit.modules():
            if isinstance(module, Attention):  # which asks for its own mode, not its dropout's
                module.training = module.attn_drop.training
        return self

    def at(self, side: int) -> "FrozenViT":
        """The same weights for square images of another side, rounded down to whole patches; the
        position embedding is resized.

        The weights are shared, not copied.
        """
        side -= side % self.patch_size[0]
        if side < 1:
            raise BadInput(
                f"a backbone with patches of {self.patch_size[0]} pixels can't take images that are"
                " smaller."
            )
        if side == self.image_size:
            return self
        other = copy.deepcopy(
            self.vit, {id(parameter): parameter for parameter in self.vit.parameters()}
        )
        other.set_input_size((side, side))
        return FrozenViT(other, self.pooling)

    def read(self) -> Read:
        """What pooling needs of the last block."""
        rows: dict[Pooling, Literal["cls", "image", "image+prompts"]] = {
            "cls": "cls",
            "avg": "image",
            "vpt-mae": "image+prompts",
        }
        return Read((self.depth - 1,), rows[self.pooling])

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
        """Patches with their positions, behind CLS and register tokens: what the first block takes.

        Raises `ValueError` for a change of the backbone that would not be seen: see `check`.
        """
        self.check()
        vit: Any = self.vit
        return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))

    def block(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
    ) -> Float[Tensor, "batch row dim"]:
        """The output of block `index` at `rows` of `tokens`; `prompts` are seen by all of them and
        give no output."""
        return self._block(index, tokens, prompts, rows, saliency=False)[0]

    def block_and_saliency(
        self,
        index: int,
        tokens: Float[Tensor, "batch token dim"],
        prompts: Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"] | None = None,
        rows: slice = slice(None),
    ) -> tuple[Float[Tensor, "batch row dim"], Float[Tensor, "batch image"]]:
        """As `block`, and how much CLS attends to each image token: the mean over heads of its
        softmax over all keys, prompts included.

        No gradient flows through the second value.
        """
        out, saliency = self._block(index, tokens, prompts, rows, saliency=True)
        assert saliency is not None
        return out, saliency

    def run(
        self,
        tokens: Float[Tensor, "batch token dim"],
        read: Read,
        prompts: (
            Sequence[Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"]] | None
        ) = None,
    ) -> list[Float[Tensor, "batch row dim"]]:
        """All blocks that a head needs, one after the other, with `prompts[l]` at block l: the
        tokens that the head asks for."""
        selected: list[Tensor] = []
        for index in range(read.blocks[-1] + 1):
            tokens, own = self.place(
                index, tokens, prompts[index] if prompts is not None else None, read
            )
            tokens = self.block(index, tokens, own, self.rows(index, read))
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
        return torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1), None

    def rows(self, index: int, read: Read) -> slice:
        """The rows that block `index` must compute: all of them, but in the last block that the
        head reads only the head's."""
        return self._span(read.rows) if index == read.blocks[-1] else slice(None)

    def select(
        self, index: int, tokens: Float[Tensor, "batch token dim"], read: Read
    ) -> list[Float[Tensor, "batch row dim"]]:
        """What the head reads of block `index`, given its output: a list of one tensor, or of
        none."""
        if index not in read.blocks:
            return []
        return [tokens if index == read.blocks[-1] else tokens[:, self._span(read.rows)]]

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        """The backbone's features from what `read` asked for, see `Pooling`."""
        if self.pooling == "vpt-mae":
            return F.layer_norm(tokens.mean(1), (self.dim,), eps=1e-6)
        vit: Any = self.vit
        normed = vit.norm(tokens)
        return vit.fc_norm(normed[:, 0] if self.pooling == "cls" else normed.mean(1))

    def check(self) -> None:
        """Raises `ValueError` where a method has changed what this forward doesn't call, or calls
        with some rows alone.

        That is the whole ViT's own forward and that of its list of blocks, since blocks are called
        one by one; and the last norm, which sees no rows but those that the head reads.
        """
        vit: Any = self.vit
        inside = [
            f"vit.{name}"
            for name in ("forward", "forward_features", "forward_head")
            if name in vit.__dict__
        ]
        hooked = [
            name
            for name, module in {"FrozenViT": self, "vit": vit, "vit.blocks": vit.blocks}.items()
            if _hooked(module)
        ]
        if inside or hooked:
            raise ValueError(
                f"{(inside + hooked)[0]} was changed or hooked, but isn't called: blocks are called"
                " one by one. Change or hook vit.patch_embed, a block or a part of one; or write"
                " the method's own forward()"
            )
        for name in ("norm", "fc_norm"):
            module = getattr(vit, name)
            if not _each_token(module):
                raise ValueError(
                    f"vit.{name} was changed to {_what(module)}, which would see only the rows that"
                    " the head reads: set each_token = True on it where it acts on each token by"
                    " itself"
                )

    def _span(self, rows: Literal["cls", "image", "image+prompts"]) -> slice:
        if rows == "cls":
            return slice(0, 1)
        return slice(self.prefix, self.prefix + self.image_tokens if rows == "image" else None)

    def _block(
        self, index: int, tokens: Tensor, prompts: Tensor | None, rows: slice, saliency: bool
    ) -> tuple[Tensor, Tensor | None]:
        block: Any = self.vit.blocks[index]
        if not _open(block):
            if saliency:
                raise ValueError(
                    f"block {index} was changed ({_changed(block)}): how much CLS attends to the"
                    " image can't be read from it"
                )
            return self._closed(index, tokens, prompts)[:, rows], None
        attn = block.attn
        normed = block.norm1(tokens)
        if prompts is None and rows == slice(None):
            q, k, v = self._project(attn, normed, 0)
        else:
            # queries apart: keys and values are copied behind the prompts' below, and their first
            # storage can then be freed
            (q,) = self._project(attn, normed[:, rows], 0, 1)
            k, v = self._project(attn, normed, 1)
        q, k = attn.q_norm(q), attn.k_norm(k)
        if prompts is not None:
            prompts = prompts if prompts.ndim == 3 else prompts[None]
            prompt_k, prompt_v = self._project(attn, block.norm1(prompts), 1)
            k = torch.cat([k, attn.k_norm(prompt_k).expand(len(k), -1, -1, -1)], dim=2)
            v = torch.cat([v, prompt_v.expand(len(v), -1, -1, -1)], dim=2)
        dropout = attn.attn_drop.p if attn.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=attn.scale)
        mixed = attn.proj_drop(attn.proj(attn.norm(mixed.transpose(1, 2).flatten(2))))
        out = tokens[:, rows] + block.drop_path1(block.ls1(mixed))
        out = out + block.drop_path2(block.ls2(block.mlp(block.norm2(out))))
        if not saliency:
            return out, None
        with torch.no_grad():
            weights = (attn.scale * q[:, :, :1] @ k.transpose(2, 3)).softmax(-1).mean(1)
        return out, weights[:, 0, self._span("image")]

    def _closed(self, index: int, tokens: Tensor, prompts: Tensor | None) -> Tensor:
        """A changed block as timm computes it, on all rows, prompts behind the tokens; their
        outputs are dropped."""
        block: Any = self.vit.blocks[index]
        joined = (
            tokens
            if prompts is None
            else torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1)
        )
        # timm's equation; it hands `attn` two defaults that a method's own needn't take
        if _as_loaded(block):
            out = joined + block.drop_path1(block.ls1(block.attn(block.norm1(joined))))
            out = out + block.drop_path2(block.ls2(block.mlp(block.norm2(out))))
        else:
            out = block(joined)
        if not (isinstance(out, Tensor) and out.shape == joined.shape):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"block {index} was changed ({_changed(block)}): it takes {tuple(joined.shape)} and"
                f" must give that back, not {got}"
            )
        return out[:, : tokens.shape[1]]

    @staticmethod
    def _project(attn: Attention, normed: Tensor, start: int, stop: int = 3) -> list[Tensor]:
        """Of (queries, keys, values), those from `start` to `stop`, each (batch, head, token,
        head_dim)."""
        span = slice(start * attn.attn_dim, stop * attn.attn_dim)
        qkv: Any = attn.qkv
        if type(attn.qkv).forward is nn.Linear.forward and _as_loaded(attn.qkv):
            bias = None if qkv.bias is None else qkv.bias[span]
            joint = F.linear(normed, qkv.weight[span], bias)
        else:  # a module around it: what it does isn't in its weight
            joint = qkv(normed)[..., span]
        heads = torch.unflatten(joint, 2, (stop - start, attn.num_heads, attn.head_dim))
        return list(heads.permute(2, 0, 3, 1, 4).unbind(0))


AS_LOADED = "_forward_as_loaded"
"""Each module of a backbone keeps its class's forward of the time when it was loaded. A method's
own modules have no such entry."""


def _forwards(*kinds: type[nn.Module]) -> dict[type[nn.Module], Callable[..., Any]]:
    return {kind: kind.forward for kind in kinds}


EACH_TOKEN = frozenset(
    _forwards(
        nn.Linear,
        nn.LayerNorm,
        nn.Identity,
        nn.Dropout,
        nn.GELU,
        nn.ReLU,
        nn.SiLU,
        nn.Tanh,
        nn.Sigmoid,
        nn.Sequential,
        DropPath,
    ).values()
)
"""Forwards that act on each token by itself, and so may stand anywhere in a block; Sequential's
where what is in it does."""


ORIGINAL = _forwards(VisionTransformer, Block, Attention, Mlp, PatchEmbed, nn.Linear, nn.LayerNorm)
"""The classes that a ViT is made of, as they were when this module was imported: before any
method's file was."""


def _open(block: nn.Module) -> bool:
    """Whether a block may be computed in parts: it is timm's, and every part of it acts on each
    token by itself."""
    if (
        type(block) is not Block
        or type(block.attn) is not Attention
        or not (_as_loaded(block) and _as_loaded(block.attn))
    ):
        return False
    attn = block.attn
    if attn.gate is not None or type(attn.attn_drop) is not nn.Dropout:
        return False
    return all(
        _each_token(part) for part in (*block.children(), *attn.children()) if part is not attn
    )


def _each_token(module: nn.Module) -> bool:
    """Whether a module is known to act on each token by itself: it came with the backbone, or is
    torch's, or says so (`each_token`)."""
    own = module.__dict__
    if own.get(AS_LOADED) is None:
        if own.get("each_token", getattr(type(module), "each_token", False)) is True:
            return not _hooked(module)
        if type(module).forward not in EACH_TOKEN:
            return False
    elif own[AS_LOADED] is not type(module).forward:
        return False
    if "forward" in own or _hooked(module):
        return False
    return all(
        _each_token(part)
        for name, part in own["_modules"].items()
        if part is not None and name != "parametrizations"
    )


def _as_loaded(module: nn.Module) -> bool:
    """Whether a module itself (not what is in it) runs as it did when the backbone was loaded."""
    own = module.__dict__
    return (
        own.get(AS_LOADED) is type(module).forward and "forward" not in own and not _hooked(module)
    )


def _hooked(module: nn.Module) -> bool:
    own = module.__dict__
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
    )


def _what(module: nn.Module) -> str:
    """A changed module in a word."""
    if _hooked(module):
        return f"a hooked {type(module).__name__}"
    return (
        f"a {type(module).__name__} with a forward of its own"
        if "forward" in module.__dict__
        else type(module).__name__
    )


def _changed(block: nn.Module) -> str:
    """What in a block isn't as it was loaded and doesn't act on each token by itself: for a
    message."""
    if not _as_loaded(block):
        return f"now {_what(block)}"
    attention: nn.Module = block.attn  # type: ignore[assignment]
    inside = ((f"attn.{name}", part) for name, part in attention.named_children())
    for name, part in (*block.named_children(), *inside):
        if not (_as_loaded(part) if name == "attn" else _each_token(part)):
            return f"its {name} is {_what(part)}"
    return "its attn has a gate, or another dropout"


def _foreign(vit: nn.Module) -> str | None:
    """The first part of a backbone that this forward doesn't know, by its class; None where it
    knows all."""
    for kind, forward in ORIGINAL.items():
        if kind.forward is not forward:
            raise BadInput(
                f"{kind.__module__}.{kind.__name__}.forward was replaced in this process, for all"
                f" methods, by one of {kind.forward.__module__}: replace it on a method's own"
                " modules, as in block.attn.forward = ..."
            )
    if not isinstance(vit, VisionTransformer):
        return type(vit).__name__
    for block in vit.blocks:
        if type(block) is not Block:
            return type(block).__name__
        if type(block.attn) is not Attention:
            return type(block.attn).__name__
        if block.attn.gate is not None:
            return "gated attention"
    return None
