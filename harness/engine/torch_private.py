"""The private part of torch that is used anyway: what for, and in which form.

torchvision's operators and torch's optimizers import `torch._dynamo`, the compiler behind
`torch.compile`, and Triton with it: a quarter of a process's time until everything is imported. All
that they call of it are three functions, which do nothing unless something is compiled.
"""

import functools
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

PACKAGE, UTILS = "torch._dynamo", "torch._dynamo.utils"


class _Deferred(ModuleType):
    """Becomes the real module, in the same object, when it is asked for what it doesn't have."""

    def __getattr__(self, name: str) -> Any:
        begins_import = name == "__path__" and self.__name__ == PACKAGE  # of one of its modules
        if name.startswith("__") and not begins_import:
            raise AttributeError(name)
        _load(self)
        return getattr(self, name)


def defer_dynamo() -> None:
    """Until more is wanted of `torch._dynamo` than those three functions, it isn't loaded by this
    process. Does nothing where it already is."""
    if PACKAGE in sys.modules:
        return
    torch = find_spec("torch")
    package = torch and PathFinder.find_spec(PACKAGE, torch.submodule_search_locations)
    utils = package and PathFinder.find_spec(UTILS, package.submodule_search_locations)
    if package and utils:
        stand_in = _put(utils, is_compile_supported=_is_compile_supported)
        _put(package, utils=stand_in, disable=_disable, graph_break=_graph_break)


def _put(spec: ModuleSpec, **functions: Any) -> ModuleType:
    module = module_from_spec(spec)
    vars(module).pop("__path__", None)
    vars(module).update(functions)
    module.__class__ = _Deferred
    sys.modules[spec.name] = module
    return module


def _load(module: ModuleType) -> None:
    """As an import does: the package first."""
    package = sys.modules[PACKAGE]
    if module is not package:
        _load(package)
    if isinstance(module, _Deferred):
        _execute(module)


def _execute(module: ModuleType) -> None:
    module.__class__ = ModuleType
    for name in ("disable", "graph_break", "is_compile_supported"):
        vars(module).pop(name, None)
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    spec.loader.exec_module(module)


def _is_compile_supported(device_type: Any) -> Any:
    """torchvision takes it from its module at once, and may call it later."""
    _load(sys.modules[UTILS])
    return sys.modules[UTILS].is_compile_supported(device_type)


def _graph_break(*_: Any, **__: Any) -> None:
    """There is no graph."""


def _disable(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """`function`; and what the real one makes of it, once there is a compiler to disable."""

    @functools.cache
    def disabled() -> Callable[..., Any]:
        return sys.modules[PACKAGE].disable(function, *args, **kwargs)

    def call(*inputs: Any, **named: Any) -> Any:
        loaded = not isinstance(sys.modules[PACKAGE], _Deferred)
        return (disabled() if loaded else function)(*inputs, **named)

    return call
