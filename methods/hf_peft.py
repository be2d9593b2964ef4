"""Hugging Face's peft on a frozen ViT: github.com/huggingface/peft, Apache-2.0; an extra. With W_0
(out x in) one of the maps of every block named by `target`, and b its bias:

    dora       DoRA, ICML 2024, 2402.09353: y = m (W_0 + (8 / r) B A) x / ||W_0 + (8 / r) B A|| + b,
               a norm for each row, which gets no gradient; m starts at the rows' norms, B at 0
    vera       VeRA, ICLR 2024, 2310.11454: y = W_0 x + b + l_b * B (l_d * A x); A, B are random,
               frozen, the same in all blocks; l_d starts at 0.1, l_b at 0
    oft        OFT, NeurIPS 2023, 2306.07280: y = W_0 R x + b, R in blocks of `rank`, near Cayley's
    boft       BOFT, ICLR 2024, 2311.06243, one factor: y = s * (W_0 R x) + b, R Cayley's exactly
    ia3        (IA)^3, NeurIPS 2022, 2205.05638: y = l * (W_0 x + b); for fc2, y = W_0 (l * x) + b
    fourierft  FourierFT, ICML 2024, 2405.03003: y = (W_0 + 150 Re ifft2(F)) x + b, F with `rank`
               trained entries at random places, from N(0, 1): training doesn't start at W_0
    hra        HRA, NeurIPS 2024, 2405.17484: y = W_0 H_1 ... H_r x + b, reflections, equal in pairs
    lokr       LoKr of LyCORIS, ICLR 2024, 2309.14859: y = (W_0 + (8 / r) w_1 (x) w_2a w_2b) x + b

As released: the code is peft's, and its version is a part of every result's key. Ours: all four
maps, where the papers choose some; AdamW, whose weight decay spares vectors; ranks and rates
searched. What is drawn once for all follows from fixed seeds of torch's generator on the CPU, and
isn't in checkpoints. boft has one factor, as without peft's extension for CUDA, which isn't built.
It and hra make square matrices of a map's inputs in each step, so by default they change qkv alone,
and what would need over 2 GB is refused.

Equal to peft's own forward of the wrapped timm model (peft 0.21.2): logits to 1e-14.
"""

from harness import ADAMW_RATES, FrozenBackbone
from methods.hf_peft_kinds import EVERY, RANKS, VECTOR_RATES
from methods.hf_peft_parts import Wrapped


class HFPeft(Wrapped):
    """The type of peft's that is called `type`; `rank` 0 is the one that the type has there."""

    name = "peft"
    year = 2021
    summary = "Hugging Face's peft, by type: LoRA on every map, or another (arXiv 2106.09685)"
    search_space = {"base_lr": ADAMW_RATES}

    def __init__(
        self,
        vit: FrozenBackbone,
        type: str = "lora",
        rank: int = 0,
        target: str = EVERY,
        dropout: float = 0.0,
    ):
        own = {"rank": rank} if rank else {}
        super().__init__(vit, type=type, target=target, dropout=dropout, **own)


class DoRA(Wrapped):
    name = kind = "dora"
    year = 2024
    summary = "DoRA: LoRA with trained lengths of the weights' rows (arXiv 2402.09353)"
    search_space = {"rank": RANKS, "base_lr": ADAMW_RATES}

    def __init__(
        self, vit: FrozenBackbone, rank: int = 8, target: str = EVERY, dropout: float = 0.0
    ):
        super().__init__(vit, rank=rank, target=target, dropout=dropout)


class VeRA(Wrapped):
    name = kind = "vera"
    year = 2023
    summary = "VeRA: trained vectors between frozen random matrices (arXiv 2310.11454)"
    search_space = {"rank": (64, 256), "base_lr": VECTOR_RATES}

    def __init__(
        self, vit: FrozenBackbone, rank: int = 256, target: str = EVERY, dropout: float = 0.0
    ):
        super().__init__(vit, rank=rank, target=target, dropout=dropout)


class OFT(Wrapped):
    name = kind = "oft"
    year = 2023
    summary = "OFT: each map's inputs turned, block by block (arXiv 2306.07280)"
    search_space = {"rank": (4, 16, 32), "base_lr": ADAMW_RATES}

    def __init__(self, vit: FrozenBackbone, rank: int = 16, target: str = EVERY):
        super().__init__(vit, rank=rank, target=target)


class BOFT(Wrapped):
    name = kind = "boft"
    year = 2023
    summary = "BOFT of one factor: OFT on qkv, with a scale an output (arXiv 2311.06243)"
    search_space = {"rank": (4, 8), "base_lr": ADAMW_RATES}

    def __init__(self, vit: FrozenBackbone, rank: int = 4, target: str = "qkv"):
        super().__init__(vit, rank=rank, target=target)


class IA3(Wrapped):
    name = kind = "ia3"
    year = 2022
    summary = "(IA)^3: a scale for every output, and for the MLP's hidden values (arXiv 2205.05638)"
    search_space = {"base_lr": VECTOR_RATES}

    def __init__(self, vit: FrozenBackbone, target: str = EVERY):
        super().__init__(vit, target=target)


class FourierFT(Wrapped):
    name = kind = "fourierft"
    year = 2024
    summary = "FourierFT: a few trained frequencies of each map's change (arXiv 2405.03003)"
    search_space = {"rank": (100, 1000), "base_lr": VECTOR_RATES}

    def __init__(self, vit: FrozenBackbone, rank: int = 1000, target: str = EVERY):
        super().__init__(vit, rank=rank, target=target)


class HRA(Wrapped):
    name = kind = "hra"
    year = 2024
    summary = "HRA: qkv's inputs turned by a chain of reflections (arXiv 2405.17484)"
    search_space = {"rank": (2, 8, 16), "base_lr": ADAMW_RATES}

    def __init__(self, vit: FrozenBackbone, rank: int = 8, target: str = "qkv"):
        super().__init__(vit, rank=rank, target=target)


class LoKr(Wrapped):
    name = kind = "lokr"
    year = 2023
    summary = "LoKr: each map's change as a Kronecker product (arXiv 2309.14859)"
    search_space = {"rank": RANKS, "base_lr": ADAMW_RATES}

    def __init__(self, vit: FrozenBackbone, rank: int = 8, target: str = EVERY):
        super().__init__(vit, rank=rank, target=target)
