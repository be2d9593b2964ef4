"""A run that trains nothing of what it means to train has no score; one that leaves some of it
alone says so."""

from collections.abc import Iterable
from difflib import get_close_matches

from torch import nn

from harness.text import first_few
from harness.training.method import Method, method_of


class Untrained(RuntimeError):
    """Nothing of what the method means to train takes part in the loss."""


class Unreached:
    """The trained tensors of a model that have had no gradient in any step so far: what they hold
    is still what they were made with."""

    def __init__(self, model: nn.Module):
        self.without = no_forward(method_of(model))
        self.left = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.own = [name for name in self.left if name.startswith("method.")]
        self.total = len(self.left)

    def look(self) -> None:
        """After a step's backward pass, before gradients are cleared. Raises `Untrained` where none
        of the method's tensors has one."""
        if not self.left:
            return
        self.left = {
            name: parameter for name, parameter in self.left.items() if parameter.grad is None
        }
        if self.own and all(name in self.left for name in self.own):
            raise Untrained(
                f"none of the {len(self.own)} tensors that the method trains got a gradient:"
                f" {_named(self.own)}{self.without}"
            )

    def warnings(self) -> tuple[str, ...]:
        """A sentence where some tensors were never reached."""
        if not self.left:
            return ()
        return (
            (
                f"{len(self.left)} of {self.total} trained tensors got no gradient:"
                f" {_named(self.left)}."
            ),
        )


def no_forward(method: Method | None) -> str:
    """To be said behind tensors that get no gradient, of a class without a `forward` of its own:
    which of its functions looks like one. Empty for any other."""
    if method is None or type(method).forward is not Method.forward:
        return ""
    own = type(method)
    near = get_close_matches("forward", [name for name in vars(own) if name != "forward"], 1, 0.7)
    said = f": is '{near[0]}' to be it?" if near else ""
    return f". {own.__name__} has no forward of its own{said}"


def _named(names: Iterable[str]) -> str:
    return first_few([name.removeprefix("method.") for name in names])
