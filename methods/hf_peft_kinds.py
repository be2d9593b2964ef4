"""The types of Hugging Face's peft that `hf_peft` offers, and what may be asked of each."""

from dataclasses import dataclass, field
from typing import Any

MAPS = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
EVERY = "qkv+proj+fc1+fc2"
RANKS = (1, 8, 16, 32)
VECTOR_RATES = (0.01, 0.05, 0.1, 0.5)
"""Base learning rates of what trains vectors alone."""
LARGEST = 10_000
"""Rank: above it is a mistake."""


@dataclass(frozen=True)
class Kind:
    """A type of peft's: the class of its settings, and what `rank` and `dropout` are called
    there."""

    settings: str
    rank: str | None = "r"
    default: int = 8
    dropout: str | None = None
    more: dict[str, Any] = field(default_factory=dict[str, Any])
    squares: tuple[int, int] | None = None
    """(a, b): for each map a + b * rank matrices of (inputs, inputs) values in a step."""


KINDS = {
    "lora": Kind("LoraConfig", dropout="lora_dropout"),
    "dora": Kind("LoraConfig", dropout="lora_dropout", more={"use_dora": True}),
    "vera": Kind("VeraConfig", "r", 256, "vera_dropout", {"save_projection": False}),
    "oft": Kind("OFTConfig", "oft_block_size", 16),
    "boft": Kind("BOFTConfig", "boft_block_size", 4, squares=(5, 0)),
    "ia3": Kind("IA3Config", None, more={"feedforward_modules": r"blocks\.\d+\.mlp\.fc2"}),
    "fourierft": Kind("FourierFTConfig", "n_frequency", 1000),
    "hra": Kind("HRAConfig", squares=(2, 1)),
    "lokr": Kind("LoKrConfig"),
    "loha": Kind("LoHaConfig"),
    "randlora": Kind("RandLoraConfig", "r", 32, "randlora_dropout", {"save_projection": False}),
    "miss": Kind("MissConfig", "r", 12, "miss_dropout"),
    "gralora": Kind("GraloraConfig", dropout="gralora_dropout"),
    "waveft": Kind("WaveFTConfig", "n_frequency", 1000),
    "delora": Kind("DeloraConfig"),
}


def check(
    name: str, type: str, rank: int | None = None, target: str = EVERY, dropout: float = 0.0
) -> None:
    """Raises `ValueError`. `rank` None: not said."""
    if type not in KINDS:
        raise ValueError(f"{name} has no type '{type}': write one of {', '.join(KINDS)}")
    kind, maps = KINDS[type], target.split("+")
    if not {*maps} <= {*MAPS} or len({*maps}) < len(maps):
        raise ValueError(
            f"{name}: target='{target}': join some of {', '.join(MAPS)} by +, as in {EVERY}"
        )
    if rank is not None and kind.rank is None:
        raise ValueError(f"{name}: {type} has no rank: leave it out")
    if rank is not None and not 1 <= rank <= LARGEST:
        raise ValueError(f"{name}: rank must be from 1 to {LARGEST}, not {rank}")
    if type == "hra" and rank and rank % 2:
        raise ValueError(
            f"{name}: with an odd rank training doesn't start at the backbone, since reflections"
            f" cancel in pairs: write rank={rank + 1}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"{name}: dropout must be from 0 to below 1, not {dropout}")
    if dropout and kind.dropout is None:
        raise ValueError(f"{name}: {type} has no dropout: leave it out")
