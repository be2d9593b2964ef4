"""What a method has to say of a run beside its forward: `begin`, `advance`, `epoch`, what it
logs."""

from collections.abc import Callable
from typing import Any

import torch

from harness.training.method import Method, method_of
from harness.training.recipe import Recipe
from harness.training.train_split import TrainSplit


class Hooks:
    """Calls the method of a model, where it has one, and counts what these calls spend."""

    def __init__(self, model: Any, train: Callable[[], TrainSplit]):
        """`train`: what the method may look at, made where it does."""
        self.model, self._train = model, train
        self.method = method_of(model)

    @property
    def stages(self) -> int:
        return 1 if self.method is None else self.method.stages

    def begin(self) -> float:
        """Before the first step. Gives back forward-image units."""
        if self.method is None or type(self.method).begin is Method.begin:
            return 0.0
        self.model.eval()
        return self._spent_by(lambda method, train: method.begin(train, self.model.head))

    def advance(self, stage: int) -> float:
        """Before a later stage. Gives back forward-image units."""
        self.model.train()
        return self._spent_by(lambda method, train: method.advance(stage, train))

    def epoch(self, number: int, recipe: Recipe) -> None:
        """Before an epoch, counted from 0; before an iteration, nothing."""
        if self.method is not None and recipe.unit == "epoch":
            self.method.epoch(number, recipe.length)

    def logged(self) -> dict[str, Any]:
        """Of the last step."""
        return {} if self.method is None else self.method.logged()

    def _spent_by(self, call: Callable[[Method, TrainSplit], None]) -> float:
        """An image that is handed out counts 1, or as often as it is passed forward; one that is
        passed backward 1 more."""
        assert self.method is not None
        train, before = self._train(), self.method.vit.embedded
        with torch.no_grad():
            call(self.method, train)
        self.method.logged()  # of what was no step
        return max(train.given, self.method.vit.embedded - before) + train.passed_back
