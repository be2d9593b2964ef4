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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.layers.drop import DropPath
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.changes import (
    AS_LOADED,
    acts_on_each_token,
    described,
    foreign_part,
    is_as_loaded,
    is_hooked,
    is_open,
    what_changed,
)
from harness.data.normalization import IMAGENET, Statistics
from harness.errors import BadInput

Pooling = Literal["cls", "avg", "vpt-mae"]
"""How features come from tokens: CLS, or the mean of the image tokens, after the backbone's norm.
Or as VPT does with MAE's weights: the mean of the image tokens and the prompts' outputs, then a
layer norm without weights (eps 1e-6); the checkpoint's norm isn't used."""

COVERED = (
    "ViT-B/L/H and smaller with weights of AugReg, the original ViT, SAM, MAE, DINO, DINOv2"
    " (registers too), CLIP or DeiT"
)


KeysValues = tuple[Tensor, Tensor]
"""Keys and values behind the projection, each (head, n, head_dim) for all images, or (batch, head,
n, head_dim). The same tensor may stand for both."""

PARTS = {"q": (0, 1), "k": (1, 2), "v": (2, 3), "kv": (1, 3), "qkv": (0, 3)}
"""Places of queries, keys and values in a block's projection."""


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

    `prefix` is the number of rows in front of the image (CLS and registers), `image_tokens` that of
    the image, `grid` the same down and across; `dim` is the width, `depth` the number of blocks,
    and `vit` timm's own ViT, with its `blocks`. Rows never have the last norm: that is in `pool`.
    """

    def __init__(self, vit: VisionTransformer, pooling: Pooling = "cls"):
        super().__init__()
        foreign = foreign_part(vit)
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
        self.statistics: Statistics = IMAGENET
        """What was taken out of the pixels that it is given: for methods whose prompts are
        pixels."""
        self.embedded = 0
        """Images that were embedded so far: what a method's own passes are counted by."""
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

    def drop_paths(self, rate: float) -> None:
        """Stochastic depth, as timm has it: while training, each image skips a block's attention
        or MLP with a probability that rises from 0 in the first block to `rate` in the last.

        For a copy that no method has changed yet: what a method then wraps or replaces is its
        own.
        """
        rates = torch.linspace(0, rate, self.depth, device="cpu")
        for index in range(self.depth):
            block: Any = self.vit.blocks[index]
            if (of_block := float(rates[index])) > 0:
                block.drop_path1, block.drop_path2 = DropPath(of_block), DropPath(of_block)

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
        sized = FrozenViT(other, self.pooling)
        sized.statistics = self.statistics
        return sized

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
        self.embedded += len(images)
        vit: Any = self.vit
        return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))

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
        block: Any = self.vit.blocks[index]
        if not is_open(block):
            if kv is not None or temperature is not None:
                raise self._unopened(index, "keys and values, or a temperature, can't be given it")
            return self._closed(index, tokens, prompts)[:, rows]
        q, k, v = self._attended(index, tokens, prompts, rows, kv)
        return self._fed(index, self._mixed(index, tokens[:, rows], q, k, v, temperature))

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
        block: Any = self.vit.blocks[index]
        if not is_open(block):
            raise self._unopened(index, "how much CLS attends to the image can't be read from it")
        q, k, v = self._attended(index, tokens, prompts, rows, kv)
        out = self._fed(index, self._mixed(index, tokens[:, rows], q, k, v, temperature))
        with torch.no_grad():
            cls = q[:, :, :1] if temperature is None else q[:, :, :1] / temperature
            weights = (block.attn.scale * cls @ k.transpose(2, 3)).softmax(-1).mean(1)
        return out, weights[:, 0, self._span("image")]

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
        block: Any = self.vit.blocks[index]
        if not is_open(block):
            raise self._unopened(index, "rows that only ask can't be given it")
        q, k, v = self._attended(index, tokens, prompts, rows, kv)
        out = self._fed(index, self._mixed(index, tokens[:, rows], q, k, v, temperature))
        queries = queries.expand(len(tokens), -1, -1)
        (q,) = self.project(index, block.norm1(queries), "q")
        return out, self._fed(index, self._mixed(index, queries, q, k, v, temperature))

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
        if not is_open(self.vit.blocks[index]):
            raise self._unopened(index, "it can't be taken in halves")
        q, k, v = self._attended(index, tokens, prompts, rows, kv)
        return self._mixed(index, tokens[:, rows], q, k, v, temperature)

    def feed(
        self, index: int, tokens: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch row dim"]:
        """The second half of `block`: the MLP and its residual. Raises as `attend`."""
        if not is_open(self.vit.blocks[index]):
            raise self._unopened(index, "it can't be taken in halves")
        return self._fed(index, tokens)

    def project(
        self,
        index: int,
        rows: Float[Tensor, "batch row dim"],
        parts: Literal["q", "k", "v", "kv", "qkv"],
    ) -> list[Float[Tensor, "batch head row head_dim"]]:
        """Block `index`'s frozen projections of `rows`, which its norm hasn't seen unless the
        caller did that: one tensor a letter of `parts`. Where a backbone has norms of queries and
        keys, these are behind them."""
        attn: Any = self.vit.blocks[index].attn
        projected = self._project(attn, rows, *PARTS[parts])
        norms = {"q": attn.q_norm, "k": attn.k_norm}
        return [
            norms[part](one) if part in norms else one
            for part, one in zip(parts, projected, strict=True)
        ]

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
        attn: Any = self.vit.blocks[index].attn
        if temperature is not None:
            q = q / temperature
        dropout = attn.attn_drop.p if attn.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=attn.scale)
        return attn.proj_drop(attn.proj(attn.norm(mixed.transpose(1, 2).flatten(2))))

    def run(
        self,
        tokens: Float[Tensor, "batch token dim"],
        read: Read,
        prompts: (
            Sequence[Float[Tensor, "prompt dim"] | Float[Tensor, "batch prompt dim"]] | None
        ) = None,
        kv: Sequence[KeysValues] | None = None,
    ) -> list[Float[Tensor, "batch row dim"]]:
        """All blocks that a head needs, one after the other, with `prompts[l]` and `kv[l]` at block
        l: the tokens that the head asks for."""
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
        return torch.cat([tokens, prompts.expand(len(tokens), -1, -1)], dim=1), None

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
        """The backbone's features from rows as the last block gives them, with its last norm: of
        the first row with CLS pooling, else of the mean of all. With MAE's weights, as in VPT's
        code: the mean, then a norm without weights.

        Of one row alone (`tokens[:, -1:]`), it is that row with the norm.
        """
        if self.pooling == "vpt-mae":
            return F.layer_norm(tokens.mean(1), (self.dim,), eps=1e-6)
        vit: Any = self.vit
        normed = vit.norm(tokens)
        return vit.fc_norm(normed[:, 0] if self.pooling == "cls" else normed.mean(1))

    def pool_with_own_norm(
        self, tokens: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch dim"]:
        """As `pool`, but with MAE's weights the checkpoint's norm behind the mean, where VPT's code
        has one without weights."""
        if self.pooling != "vpt-mae":
            return self.pool(tokens)
        vit: Any = self.vit
        return vit.norm(tokens.mean(1))

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
            if is_hooked(module)
        ]
        if inside or hooked:
            raise ValueError(
                f"{(inside + hooked)[0]} was changed or hooked, but isn't called: blocks are called"
                " one by one. Change or hook vit.patch_embed, a block or a part of one; or write"
                " the method's own forward()"
            )
        for name in ("norm", "fc_norm"):
            module = getattr(vit, name)
            if not acts_on_each_token(module):
                raise ValueError(
                    f"vit.{name} was changed to {described(module)}, which would see only the rows"
                    " that the head reads: set each_token = True on it where it acts on each token"
                    " by itself"
                )

    def _span(self, rows: Literal["cls", "image", "image+prompts"]) -> slice:
        if rows == "cls":
            return slice(0, 1)
        return slice(self.prefix, self.prefix + self.image_tokens if rows == "image" else None)

    def _attended(
        self,
        index: int,
        tokens: Tensor,
        prompts: Tensor | None,
        rows: slice,
        kv: KeysValues | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries of `rows`, and keys and values of all that is seen: tokens, prompts, then `kv`;
        each (batch, head, n, head_dim)."""
        block: Any = self.vit.blocks[index]
        attn = block.attn
        normed = block.norm1(tokens)
        alone = prompts is None and kv is None
        # a map that was wrapped gives all three anyway
        if rows == slice(None) and (alone or not _is_plain(attn.qkv)):
            q, k, v = self._project(attn, normed, 0)
        else:
            # queries apart: keys and values are copied behind the prompts' below, and their first
            # storage can then be freed
            (q,) = self._project(attn, normed[:, rows], 0, 1)
            k, v = self._project(attn, normed, 1)
        keys, values = [attn.k_norm(k)], [v]
        if prompts is not None:
            prompts = prompts if prompts.ndim == 3 else prompts[None]
            prompt_k, prompt_v = self._project(attn, block.norm1(prompts), 1)
            keys.append(attn.k_norm(prompt_k))
            values.append(prompt_v)
        if kv is not None:
            keys.append(kv[0].to(k.dtype))
            values.append(kv[1].to(v.dtype))
        return attn.q_norm(q), _joined(keys), _joined(values)

    def _mixed(
        self,
        index: int,
        rows: Tensor,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        temperature: Tensor | None,
    ) -> Tensor:
        """Rows and what attention adds to them."""
        block: Any = self.vit.blocks[index]
        return rows + block.drop_path1(block.ls1(self.mix(index, q, k, v, temperature)))

    def _fed(self, index: int, rows: Tensor) -> Tensor:
        """Rows and what the MLP adds to them."""
        block: Any = self.vit.blocks[index]
        return rows + block.drop_path2(block.ls2(block.mlp(block.norm2(rows))))

    def _unopened(self, index: int, consequence: str) -> ValueError:
        return ValueError(
            f"block {index} was changed ({what_changed(self.vit.blocks[index])}): {consequence}"
        )

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
        if is_as_loaded(block):
            out = joined + block.drop_path1(block.ls1(block.attn(block.norm1(joined))))
            out = out + block.drop_path2(block.ls2(block.mlp(block.norm2(out))))
        else:
            out = block(joined)
        if not (isinstance(out, Tensor) and out.shape == joined.shape):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"block {index} was changed ({what_changed(block)}): it takes"
                f" {tuple(joined.shape)} and must give that back, not {got}"
            )
        return out[:, : tokens.shape[1]]

    @staticmethod
    def _project(attn: Attention, normed: Tensor, start: int, stop: int = 3) -> list[Tensor]:
        """Of (queries, keys, values), those from `start` to `stop`, each (batch, head, token,
        head_dim)."""
        span = slice(start * attn.attn_dim, stop * attn.attn_dim)
        qkv: Any = attn.qkv
        if _is_plain(attn.qkv):
            bias = None if qkv.bias is None else qkv.bias[span]
            joint = F.linear(normed, qkv.weight[span], bias)
        else:  # a module around it: what it does isn't in its weight
            joint = qkv(normed)[..., span]
        heads = torch.unflatten(joint, 2, (stop - start, attn.num_heads, attn.head_dim))
        return list(heads.permute(2, 0, 3, 1, 4).unbind(0))


def _is_plain(qkv: nn.Module) -> bool:
    """Whether what a projection does is in its weight."""
    return type(qkv).forward is nn.Linear.forward and is_as_loaded(qkv)


def _joined(parts: list[Tensor]) -> Tensor:
    """Along the rows, each part for as many images as the first."""
    if len(parts) == 1:
        return parts[0]
    images = len(parts[0])
    return torch.cat([part.expand(images, -1, -1, -1) for part in parts], dim=2)
