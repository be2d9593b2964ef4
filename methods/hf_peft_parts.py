"""A method that is a type of Hugging Face's peft: its modules put into a backbone, unless they
aren't worth their memory. peft is imported when a method is built: that takes seconds."""

import importlib
import re
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from harness import Factors, FrozenBackbone, Method
from methods.hf_peft_kinds import EVERY, KINDS, MAPS, check

LIMIT = 2e9
"""Bytes of square matrices in a step, above which a method isn't worth them."""


class Wrapped(Method):
    """A type of peft's on every block's maps `target`: qkv, proj, fc1 and fc2, joined by +."""

    needs = ("linear maps",)
    kind: ClassVar[str] = "lora"
    family = "peft"
    packages = {"peft": "vpt-harness[peft]"}
    optimizer = {"optimizer": "adamw"}

    def __init__(self, vit: FrozenBackbone, **chosen: Any):
        self.check(chosen)
        super().__init__(vit)
        arguments: dict[str, Any] = {"type": self.kind, **chosen}
        wrap(self.vit, self.name, **arguments)

    def factors(self) -> dict[str, Factors]:
        """No weight decay on vectors, (1, n) and (n, 1) included."""
        trained = ((name, p) for name, p in self.named_parameters() if p.requires_grad)
        return {name: Factors(decay=0.0) for name, p in trained if is_vector(p)}

    def merge(self) -> None:
        """As peft merges each of its modules."""
        for holder in list(self.vit.vit.modules()):
            for name, part in list(holder.named_children()):
                if "base_layer" in dict(part.named_children()) and hasattr(part, "merge"):
                    part.merge()  # type: ignore[operator]  # torch: a tensor or a module
                    setattr(holder, name, part.base_layer)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        given: dict[str, Any] = {"type": cls.kind, **arguments}
        check(cls.name, **given)


def wrap(
    vit: FrozenBackbone,
    name: str,
    type: str,
    rank: int = 0,
    target: str = EVERY,
    dropout: float = 0.0,
) -> None:
    """Puts peft's modules around the maps of a backbone, in place. `rank` 0: the type's own. Raises
    `ValueError`."""
    kind, device = KINDS[type], next(vit.parameters()).device
    rank = rank or kind.default
    places = [place for part, place in MAPS.items() if part in target.split("+")]
    _check_sizes(name, type, rank, _at(places, vit))
    peft = importlib.import_module("peft")
    settings: dict[str, Any] = {
        "target_modules": rf"(?:.+\.)?blocks\.\d+\.({'|'.join(map(re.escape, places))})",
        **kind.more,
        **({kind.rank: rank} if kind.rank else {}),
        **({kind.dropout: dropout} if kind.dropout else {}),
    }
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # that what is random isn't saved: peft's version is
        if type == "boft":
            # where it can, it compiles for CUDA, and then adds up in another order
            vars(importlib.import_module("peft.tuners.boft.layer"))["_FBD_CUDA"] = False
            stack.enter_context(torch.device("cpu"))  # it reads indices, which "meta" hasn't
        peft.get_peft_model(vit.vit, getattr(peft, kind.settings)(**settings))
    vit.to(device)
    for module in _at(places, vit):
        vars(module)["each_token"] = True


def _at(places: list[str], vit: FrozenBackbone) -> list[nn.Module]:
    """What is at some places of each block."""
    return [block.get_submodule(place) for block in vit.blocks for place in places]


def _check_sizes(name: str, type: str, rank: int, maps: list[nn.Module]) -> None:
    """Whether blocks fit, and whether square matrices are worth their memory."""
    sizes = [module.in_features for module in maps if isinstance(module, nn.Linear)]
    if type in ("oft", "boft") and (odd := [size for size in sizes if size % rank]):
        raise ValueError(
            f"{name}: rank={rank} is the size of a block, and must divide a map's {odd[0]} inputs"
        )
    if (squares := KINDS[type].squares) is not None:
        fixed, each = squares
        size = sum(4 * (fixed + each * rank) * inputs**2 for inputs in sizes)
        if size > LIMIT:
            lower = "a lower rank, or fewer maps" if each else "fewer maps"
            raise ValueError(
                f"{name}: a step would keep {size / 1e9:.1f} GB of square matrices for these maps,"
                f" more than the {LIMIT / 1e9:.0f} GB that are let through: write {lower}, such as"
                " target=qkv"
            )


def is_vector(tensor: Tensor) -> bool:
    """Whether only one of its dimensions is more than 1."""
    return tensor.numel() == max(tensor.shape, default=1)
