"""The checks of a method: what they are, in which order, and one after the other. For
`harness.testing`."""

from bdb import BdbQuit
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import torch

from harness.backbones.frozen import FrozenBackbone
from harness.engine.method_checks.cost import cost
from harness.engine.method_checks.declared import contract, plan, values
from harness.engine.method_checks.kept import kept
from harness.engine.method_checks.merged import merged
from harness.engine.method_checks.report import Check, Fault, Report, Skipped
from harness.engine.method_checks.runs import evaluation, held_out, repeatable
from harness.engine.method_checks.shapes import shapes
from harness.engine.method_checks.steps import bf16, gradients, micro_batch
from harness.engine.method_checks.subject import Subject
from harness.planning import user_errors
from harness.planning.variant import Variant
from harness.planning.variants import one
from harness.training.method import Method
from harness.training.seeds import seeded

__all__ = ["CHECKS", "Check", "Report", "check_method", "checks"]


def check_method(
    method: str | type[Method],
    *,
    backbone: FrozenBackbone | None = None,
    seed: int = 0,
) -> Report:
    """Holds a method to the contract of `harness.Method`.

    Args:
        method: A class, `"FILE.py:CLASS"` or a registered name, with arguments or without.
        backbone: What its trained values and its costs are said of. None: a tiny one.
        seed: All that is random follows from it.

    Raises:
        BadInput: There is no such method.

    Examples:
        >>> assert check_method("./mine.py:Mine(prompts=5)").ok
    """
    variant = one(method) if isinstance(method, str) else _as_is(method)
    return Report(variant.label, tuple(checks(variant, backbone, seed)))


def checks(
    variant: Variant, backbone: FrozenBackbone | None = None, seed: int = 0
) -> Iterator[Check]:
    """As `check_method`, one after the other."""
    subject, faulty = Subject(variant, backbone, seed), set[str]()
    for name, check, needs in CHECKS:
        missing = [need for need in needs if need in faulty]
        if missing:
            found = Check(name, "skipped", f"until '{missing[0]}' is ok")
        else:
            found = _found(subject, name, check)
        if found.state == "failed":
            faulty.add(name)
        yield found


def _found(subject: Subject, name: str, check: Callable[[Subject], str]) -> Check:
    try:
        with seeded(subject.seed), one_thread():
            return Check(name, "ok", check(subject))
    except Skipped as skipped:
        return Check(name, "skipped", str(skipped))
    except Fault as fault:
        return Check(name, "failed", f"{fault} ({fault.where or subject.place('forward')})")
    except BdbQuit:
        raise
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        said = user_errors.line(error)
        if user_errors.place(error) is None and ".py:" not in said:
            said += f" ({subject.place('forward')})"
        return Check(name, "failed", said, error)


@contextmanager
def one_thread() -> Generator[None, None, None]:
    """So small a model is quickest with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _as_is(method: type[Method]) -> Variant:
    """Of a class whose declaration may be no good: a check says so."""
    return Variant(method, str(getattr(method, "name", method.__name__)), {}, method.__name__)


CHECKS: tuple[tuple[str, Callable[[Subject], str], tuple[str, ...]], ...] = (
    ("contract", contract, ()),
    ("trained values", values, ("contract",)),
    ("shapes", shapes, ("contract",)),
    ("gradients", gradients, ("contract", "shapes")),
    ("evaluation", evaluation, ("contract", "shapes", "gradients")),
    ("repeatable", repeatable, ("contract", "shapes", "gradients", "evaluation")),
    ("held-out split", held_out, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("checkpoint", kept, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("merge", merged, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("micro-batch", micro_batch, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("bf16", bf16, ("contract", "shapes")),
    ("plan", plan, ("contract", "shapes", "gradients")),
    ("cost", cost, ("contract", "shapes")),
)
"""Name, what it does, and checks without which it would say nothing of its own."""
