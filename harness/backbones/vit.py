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

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones import compiled
from harness.backbones.changes import (
    foreign_part,
    is_as_loaded,
    is_open,
    is_plain,
    what_changed,
)
from harness.backbones.frozen import (
    ONE_COLUMN,
    FrozenBackbone,
    KeysValues,
    Pooling,
    Read,
    behind,
)
from harness.backbones.products import fed, linear, mapped
from harness.errors import BadInput

Seen = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Queries, keys and values, each (batch, head, n, head_dim), and a bias on the logits."""
PARTS = {"q": (0, 1), "k": (1, 2), "v": (2, 3), "kv": (1, 3), "qkv": (0, 3)}
"""Places of queries, keys and values in a block's projection."""


class FrozenViT(FrozenBackbone):
    """A column of attention blocks. Here those of timm's plain Vision Transformer; a family whose
    attention knows places in another way is a subclass, and says what differs in the functions at
    the end.

    Tokens are ordered [CLS, registers, image, travelling prompts]. VPT writes prompts between CLS
    and image; attention doesn't see the order, since position embeddings are added before, and so
    every row keeps its place whether prompts are there or not.
    """

    family = "vit"
    model: type[nn.Module] = VisionTransformer
    carried = ONE_COLUMN | {"plain blocks"}
    """Of what `carries` says, that which all of the family have."""

    def __init__(self, vit: Any, pooling: Pooling = "cls"):
        if foreign := foreign_part(vit, self.model):
            raise BadInput(f"a backbone with {foreign} is not covered.")
        super().__init__(vit, pooling)
        self.carries = self.carried
        if vit.cls_token is not None:
            self.carries |= {"cls", "saliency"}
        if all(has_linear_maps(block) for block in self.blocks):
            self.carries |= {"linear maps", "operations"}
        self.dim, self.widths = vit.embed_dim, (vit.embed_dim,) * len(self.blocks)
        self.prefix = vit.num_prefix_tokens
        patches: Any = self.vit.patch_embed
        self.image_tokens, self.grid = patches.num_patches, patches.grid_size
        self.patch_size, self.image_size = patches.patch_size, patches.img_size[0]
        if pooling == "cls" and vit.cls_token is None:
            raise BadInput(
                f"a backbone without a CLS token that pools by '{vit.global_pool}' is not covered."
            )

    def read(self) -> Read:
        read = super().read()
        if read.rows == "image" and self._pools_prefix():
            return Read(read.blocks, "prefix+image")
        return read

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token dim"]:
        self.check()
        self.embedded += len(images)
        return self._embedded(images)

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
        seen = self._attended(index, tokens, prompts, rows, kv)
        return self._fed(index, self._mixed(index, tokens[:, rows], seen, temperature))

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
        q, k, _, bias = seen = self._attended(index, tokens, prompts, rows, kv)
        out = self._fed(index, self._mixed(index, tokens[:, rows], seen, temperature))
        with torch.no_grad():
            logits = block.attn.scale * q[:, :, :1] @ k.transpose(2, 3)
            logits = logits if bias is None else logits + bias[..., :1, :]
            logits = logits if temperature is None else logits / temperature
            weights = logits.softmax(-1).mean(1)
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
        _, k, v, _ = seen = self._attended(index, tokens, prompts, rows, kv)
        out = self._fed(index, self._mixed(index, tokens[:, rows], seen, temperature))
        queries = queries.expand(len(tokens), -1, -1)
        (q,) = self.project(index, block.norm1(queries), "q")
        return out, self._fed(index, self._mixed(index, queries, (q, k, v, None), temperature))

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
        seen = self._attended(index, tokens, prompts, rows, kv)
        return self._mixed(index, tokens[:, rows], seen, temperature)

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
        attn = self.vit.blocks[index].attn
        projected = self._project(attn, rows, *PARTS[parts])
        return [
            one if part == "v" else _normed(attn, "q" if part == "q" else "k", one)
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
        return self._mix(index, q, k, v, None, temperature)

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch dim"]:
        """Of the first row with CLS pooling, else of the mean of all, behind the backbone's last
        norm, or what its own attention pooling makes of them. With MAE's weights, as in VPT's code:
        the mean, then a norm without weights.

        Of one row alone (`tokens[:, -1:]`), it is that row with the norm, unless attention pools.
        """
        if self.pooling == "vpt-mae":
            return F.layer_norm(tokens.mean(1), (self.dim,), eps=1e-6)
        normed = self.vit.norm(tokens)
        if self.pooling == "map":
            return self.vit.fc_norm(self.vit.attn_pool(normed))
        return self.vit.fc_norm(normed[:, 0] if self.pooling == "cls" else normed.mean(1))

    def pool_with_own_norm(
        self, tokens: Float[Tensor, "batch row dim"]
    ) -> Float[Tensor, "batch dim"]:
        if self.pooling != "vpt-mae":
            return self.pool(tokens)
        return self.vit.norm(tokens.mean(1))

    def check(self) -> None:
        """And where it has changed the last norm, which sees no rows but those that the head
        reads."""
        super().check()
        self._check_norms("norm", "fc_norm")

    def _attended(
        self,
        index: int,
        tokens: Tensor,
        prompts: Tensor | None,
        rows: slice,
        kv: KeysValues | None,
    ) -> Seen:
        """Queries of `rows`; keys and values of all that they see: tokens, prompts, then `kv`; and
        what places add to the logits."""
        block: Any = self.vit.blocks[index]
        attn = block.attn
        normed = block.norm1(tokens)
        alone = prompts is None and kv is None
        # a map that was wrapped gives all three anyway
        if rows == slice(None) and (alone or not is_plain(attn.qkv)):
            q, k, v = self._project(attn, normed, 0)
        else:
            # queries apart: keys and values are copied behind the prompts' below, and their first
            # storage can then be freed
            (q,) = self._project(attn, normed[:, rows], 0, 1)
            k, v = self._project(attn, normed, 1)
        q = self._placed(index, _normed(attn, "q", q), tokens, rows)
        keys, values = [self._placed(index, _normed(attn, "k", k), tokens)], [v]
        if prompts is not None:
            prompts = prompts if prompts.ndim == 3 else prompts[None]
            prompt_k, prompt_v = self._project(attn, block.norm1(prompts), 1)
            keys.append(_normed(attn, "k", prompt_k))
            values.append(prompt_v)
        if kv is not None:
            keys.append(kv[0].to(k.dtype))
            values.append(kv[1].to(v.dtype))
        k = _joined(keys)
        return q, k, _joined(values), self._bias(index, rows, q, k)

    def _mixed(
        self,
        index: int,
        rows: Tensor,
        seen: Seen,
        temperature: Tensor | None,
    ) -> Tensor:
        """Rows and what attention adds to them."""
        block: Any = self.vit.blocks[index]
        mixed = self._mix(index, *seen, temperature)
        return rows + block.drop_path1(_scaled(block, 1, mixed))

    def _mix(
        self,
        index: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor | None,
        temperature: Tensor | None,
    ) -> Tensor:
        """As `mix`, with a bias on the logits."""
        attn: Any = self.vit.blocks[index].attn
        if temperature is not None:
            q, bias = q / temperature, None if bias is None else bias / temperature
        dropout = attn.attn_drop.p if attn.training else 0.0
        bias = None if bias is None else bias.to(q.dtype)
        mixed = F.scaled_dot_product_attention(q, k, v, bias, dropout, scale=attn.scale)
        joined = mixed.transpose(1, 2).flatten(2)
        norm = getattr(attn, "norm", None)
        return attn.proj_drop(mapped(attn.proj, joined if norm is None else norm(joined)))

    def _fed(self, index: int, rows: Tensor) -> Tensor:
        """Rows and what the MLP adds to them."""
        return compiled.run(_fed, self.vit.blocks[index], rows)

    def _unopened(self, index: int, consequence: str) -> ValueError:
        return ValueError(
            f"block {index} was changed ({what_changed(self.vit.blocks[index])}): {consequence}"
        )

    def _closed(self, index: int, tokens: Tensor, prompts: Tensor | None) -> Tensor:
        """A changed block as timm computes it, on all rows, prompts behind the tokens; their
        outputs are dropped."""
        block: Any = self.vit.blocks[index]
        joined = behind(tokens, prompts)
        given = self._given(index, joined)
        # timm's equation; it hands `attn` two defaults that a method's own needn't take
        if is_as_loaded(block):
            mixed = block.attn(block.norm1(joined), **given)
            out = self._fed(index, joined + block.drop_path1(_scaled(block, 1, mixed)))
        else:
            out = block(joined, **given)
        if not (isinstance(out, Tensor) and out.shape == joined.shape):
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"block {index} was changed ({what_changed(block)}): it takes"
                f" {tuple(joined.shape)} and must give that back, not {got}"
            )
        return out[:, : tokens.shape[1]]

    # What differs where attention knows places in another way than by what is in the tokens.

    def _embedded(self, images: Tensor) -> Tensor:
        """The first block's tokens."""
        vit = self.vit
        return vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))

    def _pools_prefix(self) -> bool:
        """Whether a mean or an attention pooling is of the rows before the image too."""
        return self.vit.pool_include_prefix

    def _placed(
        self, index: int, heads: Tensor, tokens: Tensor, rows: slice = slice(None)
    ) -> Tensor:
        """Queries or keys of `rows` of all `tokens`, with their places."""
        return heads

    def _bias(self, index: int, rows: slice, q: Tensor, k: Tensor) -> Tensor | None:
        """What places add to the logits of `rows`, (head, row, key): nothing for prompts."""
        return None

    def _given(self, index: int, tokens: Tensor) -> dict[str, Tensor]:
        """What timm's block takes beside its tokens."""
        return {}

    @staticmethod
    def _project(attn: Any, normed: Tensor, start: int, stop: int = 3) -> list[Tensor]:
        """Of (queries, keys, values), those from `start` to `stop`, each (batch, head, token,
        head_dim)."""
        if attn.qkv is None:
            maps = (attn.q_proj, attn.k_proj, attn.v_proj)[start:stop]
            each = [mapped(one, normed) for one in maps]
            return [torch.unflatten(part, 2, (attn.num_heads, -1)).transpose(1, 2) for part in each]
        biases: list[Any] = [getattr(attn, f"{part}_bias", None) for part in "qkv"][start:stop]
        beside = None if biases[0] is None else torch.cat(biases)
        if is_plain(attn.qkv):
            first, last = (len(attn.qkv.weight) // 3 * place for place in (start, stop))
            within = None if attn.qkv.bias is None else attn.qkv.bias[first:last]
            bias = within if beside is None else beside
            joint = linear(normed, attn.qkv.weight[first:last], bias)
        else:  # a module around it: what it does isn't in its weight
            given = attn.qkv(normed)
            joint = given[..., given.shape[-1] // 3 * start : given.shape[-1] // 3 * stop]
            joint = joint if beside is None else joint + beside
        heads = torch.unflatten(joint, 2, (stop - start, attn.num_heads, -1))
        return list(heads.permute(2, 0, 3, 1, 4).unbind(0))


def has_linear_maps(block: Any) -> bool:
    """Whether its four maps are linear and have their usual names."""
    maps = [getattr(block.attn, "qkv", None), block.attn.proj]
    maps += [getattr(block.mlp, "fc1", None), getattr(block.mlp, "fc2", None)]
    return all(isinstance(one, nn.Linear) for one in maps)


def _fed(block: Any, rows: Tensor) -> Tensor:
    return rows + block.drop_path2(_scaled(block, 2, fed(block.mlp, block.norm2(rows))))


def _normed(attn: Any, part: Literal["q", "k"], heads: Tensor) -> Tensor:
    """Behind the norm of queries or of keys, where a backbone has them."""
    norm = getattr(attn, f"{part}_norm", None)
    return heads if norm is None else norm(heads)


def _scaled(block: Any, half: Literal[1, 2], added: Tensor) -> Tensor:
    """What attention or MLP gives, behind its layer scale: a module, or a parameter."""
    if hasattr(block, f"ls{half}"):
        return getattr(block, f"ls{half}")(added)
    gamma = getattr(block, f"gamma_{half}")
    return added if gamma is None else gamma * added


def _joined(parts: list[Tensor]) -> Tensor:
    """Along the rows, each part for as many images as the first."""
    if len(parts) == 1:
        return parts[0]
    images = len(parts[0])
    return torch.cat([part.expand(images, -1, -1, -1) for part in parts], dim=2)
