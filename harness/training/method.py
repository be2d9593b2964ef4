"""The contract of a method: how it changes a frozen ViT, what it tunes, and what a search may
choose."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor, nn

from harness.backbones.vit import FrozenViT, Read

ADAMW_RATES = CategoricalDistribution((0.001, 0.005, 0.01, 0.05))
"""Base learning rates for methods that ask for AdamW: the protocols' own are SGD's, or prompts'. At
batch 64 a quarter of them is used."""


class Method(nn.Module):
    """A way to adapt a frozen ViT. A subclass is built from the ViT and its own hyper-parameters,
    given as keyword arguments.

    The ViT is a copy of its own: it may unfreeze, wrap, hook, replace or overwrite any part of a
    block, and no other method sees it. A module that it puts into a block is given all tokens,
    prompts behind them, as in timm's own blocks; one that acts on each token by itself may say so
    with the class attribute `each_token = True`, and is then given only the rows that are needed.

    Its trainable tensors are its parameters that require a gradient; the backbone's don't, unless
    it asks for it. It raises `ValueError` for arguments that make no sense together; the message is
    shown to the user. Whatever it draws from torch's, numpy's or Python's own generator follows
    from the run's seed.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    """Part of a result's identity: raise it when the method's numbers would change."""
    summary: ClassVar[str] = ""
    """One line for `harness list methods`."""
    note: ClassVar[str] = ""
    """A sentence that every leaderboard with this method shows."""
    search_space: ClassVar[Mapping[str, BaseDistribution]] = {}
    """Distributions of the method's own arguments; arguments not named here keep their defaults.
    `base_lr` here replaces the protocol's."""
    allows: ClassVar[Mapping[str, BaseDistribution]] = {}
    """Of arguments in `search_space`, the values that a protocol may search in place of those; what
    isn't here, it may only narrow.

    A subclass that has a `search_space` of its own inherits none of it."""
    toggles: ClassVar[tuple[str, ...]] = ()
    """Boolean arguments that an ablation may switch."""
    optimizer: ClassVar[Mapping[str, Any]] = {}
    """Entries that replace the protocol's optimiser or its search space, where the method's paper
    asks for it."""
    constant_features: ClassVar[bool] = False
    """True where the tokens don't depend on anything that is trained: the engine then computes them
    once."""

    def __init__(self, vit: FrozenViT):
        super().__init__()
        self.vit = vit

    def forward(
        self, images: Float[Tensor, "batch channel height width"], read: Read
    ) -> list[Float[Tensor, "batch row dim"]]:
        """The tokens that a head asks for: one tensor a block of `read.blocks`, with the rows of
        `read.rows`.

        As it stands, the plain forward of `self.vit`: enough for a method that changes the
        backbone's weights or blocks alone.
        """
        return self.vit.run(self.vit.embed(images), read)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Raise `ValueError` for arguments that make no sense together; called before anything is
        built."""
