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
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.attention import Attention
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.changes import (
    acts_on_each_token,
    described,
    foreign_part,
    is_as_loaded,
    is_open,
    what_changed,
)
from harness.backbones.frozen import ONE_COLUMN, FrozenBackbone, KeysValues, Pooling
from harness.errors import BadInput

COVERED = (
    "ViT-B/L/H and smaller with weights of AugReg, the original ViT, SAM, MAE, DINO, DINOv2"
    " (registers too), CLIP or DeiT"
)

PARTS = {"q": (0, 1), "k": (1, 2), "v": (2, 3), "kv": (1, 3), "qkv": (0, 3)}
"""Places of queries, keys and values in a block's projection."""


class FrozenViT(FrozenBackbone):
    """A column of attention blocks.

    Tokens are ordered [CLS, registers, image, travelling prompts]. VPT writes prompts between CLS
    and image; attention doesn't see the order, since position embeddings are added before, and so
    every row keeps its place whether prompts are there or not.
    """

    family = "vit"

    def __init__(self, vit: VisionTransformer, pooling: Pooling = "cls"):
        foreign = foreign_part(vit)
        if foreign:
            raise BadInput(
                f"a backbone with {foreign} is not covered. Covered are timm's plain Vision"
                f" Transformers: {COVERED}."
            )
        super().__init__(vit, pooling)
        self.carries = ONE_COLUMN | {"plain blocks", "linear maps"}
        if vit.cls_token is not None:
            self.carries |= {"cls", "saliency"}
        self.dim, self.widths = vit.embed_dim, (vit.embed_dim,) * len(self.blocks)
        self.prefix = vit.num_prefix_tokens
        patches: Any = self.vit.patch_embed
        self.image_tokens, self.grid = patches.num_patches, patches.grid_size
        self.patch_size, self.image_size = patches.patch_size, patches.img_size[0]
        if pooling == "cls" and vit.cls_token is None:
            raise BadInput(
                f"a backbone without a CLS token that pools by '{vit.global_pool}' is not covered,"
                " only by 'avg'."
            )

    def at(self, side: int) -> "FrozenViT":
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
        sized.statistics, sized.name = self.statistics, self.name
        return sized

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
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
        if not is_open(self.vit.blocks[index]):
            raise self._unopened(index, "it can't be taken in halves")
        q, k, v = self._attended(index, tokens, prompts, rows, kv)
        return self._mixed(index, tokens[:, rows], q, k, v, temperature)

    def feed(
        self, index: int, tokens: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch row dim"]:
        if not is_open(self.vit.blocks[index]):
            raise self._unopened(index, "it can't be taken in halves")
        return self._fed(index, tokens)

    def project(
        self,
        index: int,
        rows: Float[Tensor, "batch row dim"],
        parts: Literal["q", "k", "v", "kv", "qkv"],
    ) -> list[Float[Tensor, "batch head row head_dim"]]:
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
        attn: Any = self.vit.blocks[index].attn
        if temperature is not None:
            q = q / temperature
        dropout = attn.attn_drop.p if attn.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=attn.scale)
        return attn.proj_drop(attn.proj(attn.norm(mixed.transpose(1, 2).flatten(2))))

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        """Of the first row with CLS pooling, else of the mean of all, behind the backbone's last
        norm. With MAE's weights, as in VPT's code: the mean, then a norm without weights.

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
        if self.pooling != "vpt-mae":
            return self.pool(tokens)
        vit: Any = self.vit
        return vit.norm(tokens.mean(1))

    def check(self) -> None:
        """And where it has changed the last norm, which sees no rows but those that the head
        reads."""
        super().check()
        for name in ("norm", "fc_norm"):
            module = getattr(self.vit, name)
            if not acts_on_each_token(module):
                raise ValueError(
                    f"vit.{name} was changed to {described(module)}, which would see only the rows"
                    " that the head reads: set each_token = True on it where it acts on each token"
                    " by itself"
                )

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
