"""Training steps on CUDA as one graph: a run's first steps queue their kernels one by one, the
others replay them as they were recorded. What a small model's step takes is the queueing."""

import random
from collections.abc import Callable, Sequence, Sized
from typing import Any, Generic, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from harness.training.forward import precision
from harness.training.kind import Kind, R
from harness.training.method import Method, method_of
from harness.training.step import backward, loss_of

WARM_UP, COMPARED = 3, 2
"""Steps that are queued as usual before one is recorded; and replayed steps, each on a batch of its
own, that are compared with the same step queued as usual."""
TOLERANCE = 1e-3
"""Of the gradients, by their norm: what adds in no fixed order differs by rounding."""


class Steps(Generic[R]):
    """Calls give a batch's loss and leave its gradients in the model, in place of those before.

    On CUDA whole batches are replayed, unless memory is short, and unless a step isn't the same
    operations each time: then it waits for the device, changes numbers that Python keeps, draws
    from a generator of the CPU, or gives other gradients than its replay. A method that has an
    `epoch` hook may change anything there.
    """

    def __init__(
        self, kind: Kind[R], model: nn.Module, train: Any, recipe: R, device: torch.device
    ):
        self.kind, self.model, self.train = kind, model, train
        self.recipe, self.device = recipe, device
        self.method = method_of(model)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.refused = ""
        """Why steps aren't replayed; empty where they are, or may be."""
        if device.type != "cuda":
            self.refused = "it isn't on CUDA"
        elif recipe.micro_batch is not None:
            self.refused = "memory is short"
        elif self.method is not None and not self.method.replayable:
            self.refused = "the method isn't replayable"
        elif self.method is not None and type(self.method).epoch is not Method.epoch:
            self.refused = "the method has an epoch hook"
        self.warm = self.compared = 0
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Any) -> Float[Tensor, ""]:
        """The loss is valid until the next call."""
        if self.refused or len(batch) != self.recipe.batch_size:
            self._clear()
            return backward(self.kind, self.model, self.train, batch, self.recipe, self.device)
        inputs, targets = self.kind.batch(self.train, batch, self.device)
        if self.graph is None and self.warm < WARM_UP:
            return self._warmed_up(inputs, targets)
        if self.graph is None:
            self._record(inputs, targets)
        if self.refused or inputs.shape != self.inputs.shape or targets.shape != self.targets.shape:
            return self._queued(inputs, targets)
        if self.compared < COMPARED:
            return self._compared(inputs, targets)
        return self._replayed(inputs, targets)

    def _clear(self) -> None:
        for parameter in self.trained:
            parameter.grad = None

    def _queued(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        self._clear()
        with torch.enable_grad(), precision(self.device):
            loss = loss_of(self.kind, self.model, inputs, targets)
        loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
        return loss.detach()

    def _warmed_up(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """On the stream that is recorded later, as what autograd keeps belongs to a stream."""
        current = torch.cuda.current_stream(self.device)
        if not self.warm:
            self.stream = torch.cuda.Stream(self.device)
        before = kept_by_python(self.model)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            loss = self._queued(inputs, targets)
        current.wait_stream(self.stream)
        if self.warm and kept_by_python(self.model) != before:
            self.refused = "a step changes what Python keeps"
        self.warm += 1
        return loss

    def _record(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs.clone(), targets.clone()
        generator = torch.cuda.default_generators[torch.cuda.current_device()]
        before, graph = generator.clone_state(), torch.cuda.CUDAGraph()
        tensors = tensors_of(self.model)
        self._clear()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.loss = self._queued(self.inputs, self.targets)
                self.logged = {} if self.method is None else self.method.logged()
        except RuntimeError as error:  # nothing was run; memory that didn't suffice is one, too
            generator.graphsafe_set_state(before)
            first = error.__context__ or error  # capturing ends with an error of its own
            self.refused = f"it can't be recorded: {str(first).splitlines()[0]}"
            self._forget_logged()
        else:
            self.graph, self.recorded = graph, tensors_of(self.model)
            self.gradients = [parameter.grad for parameter in self.trained]
        put_back(tensors)

    def _replayed(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        assert self.graph is not None
        self.inputs.copy_(inputs)
        self.targets.copy_(targets)
        self.graph.replay()
        for parameter, gradient in zip(self.trained, self.gradients, strict=True):
            parameter.grad = gradient
        for name, value in self.logged.items():
            assert self.method is not None
            self.method.log(name, value)
        return self.loss

    def _compared(self, inputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """A replayed step, where it gives what the step queued as usual gives from the same
        state; else that one."""
        start, tensors = self._start(), tensors_of(self.model)
        expected_loss = self._queued(inputs, targets)
        expected = [expected_loss, *(parameter.grad for parameter in self.trained)]
        self._forget_logged()
        start()
        loss = self._replayed(inputs, targets)
        if same([loss, *self.gradients], expected):
            self.compared += 1
            if self.compared == COMPARED:
                put_back(self.recorded)
            return loss
        self.refused, self.graph = "its replay gives other gradients", None
        self._forget_logged()
        start()
        put_back(tensors)
        return self._queued(inputs, targets)

    def _start(self) -> Callable[[], None]:
        """Gives back what restores the buffers, and the device's generator."""
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        drawn = torch.cuda.get_rng_state(self.device)

        def restore() -> None:
            torch.cuda.set_rng_state(drawn, self.device)
            for buffer, value in buffers:
                buffer.copy_(value)

        return restore

    def _forget_logged(self) -> None:
        if self.method is not None:
            self.method.logged()


def same(ours: Sequence[Tensor | None], theirs: Sequence[Tensor | None]) -> bool:
    """Whether tensors are the same up to rounding, together, and missing in the same places."""
    if [one is None for one in ours] != [one is None for one in theirs]:
        return False
    one, other = (
        torch.cat([tensor.double().flatten() for tensor in tensors if tensor is not None])
        for tensors in (ours, theirs)
    )
    apart, size = (one - other).square().sum(), other.square().sum()
    return bool(apart <= TOLERANCE**2 * size)


def kept_by_python(model: nn.Module) -> list[Any]:
    """What a step may change where no graph sees it: plain values that modules hold, lengths of
    what they collect, and the CPU's generators."""
    values: list[Any] = []
    for name, kept in attributes(model):
        for key, value in kept.items():
            if key in ("embedded", "_logged"):  # the harness's own counts
                continue
            if isinstance(value, bool | int | float | str):
                values.append((name, key, value))
            elif isinstance(value, list | dict | set | tuple):
                values.append((name, key, len(cast("Sized", value))))
    generators = torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(numpy_state())
    return [*values, *generators]


def tensors_of(model: nn.Module) -> list[tuple[dict[str, Any], str, Tensor]]:
    """The tensors that hang on modules as plain attributes, which a step may replace; not what
    they hold."""
    return [
        (kept, key, value)
        for _, kept in attributes(model)
        for key, value in kept.items()
        if isinstance(value, Tensor)
    ]


def put_back(tensors: list[tuple[dict[str, Any], str, Tensor]]) -> None:
    for kept, key, value in tensors:
        kept[key] = value


def attributes(model: nn.Module) -> list[tuple[str, dict[str, Any]]]:
    """Of each module, by its name, what hangs on it."""
    modules: list[tuple[str, nn.Module]] = list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]  # torch: no annotation
    return [(name, vars(module)) for name, module in modules]


def numpy_state() -> Any:
    return np.random.get_state(legacy=False)
