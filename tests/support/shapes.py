"""How signatures are checked in tests: by beartype, to which a whole number is a number too.

In each test, the first thousands of calls: a training loop's next ones are like them, and checking
them took a third of such a test's time.
"""

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

# beartype draws which entry of a list it checks: with a generator of its own, what code draws from
# Python's is what it draws elsewhere
_pythons, random.getrandbits = random.getrandbits, random.Random(0).getrandbits
import jaxtyping  # noqa: E402
from beartype import BeartypeConf, beartype  # noqa: E402

random.getrandbits = _pythons

CHECKS = 4000
"""In one test: of arguments, and of what is returned."""

_left = 0


def begin() -> None:
    """Checks the calls of one test from here on."""
    global _left
    _left = CHECKS
    jaxtyping.config.update("jaxtyping_disable", False)


def checked(function: Any) -> Any:
    """`function`, whose arguments are checked; a class as beartype has it."""
    whole: Callable[..., Any] = beartype(conf=BeartypeConf(is_pep484_tower=True))(function)
    if isinstance(function, type):
        return whole

    @wraps(whole)
    def counted(*args: Any, **kwargs: Any) -> Any:
        global _left
        _left -= 1
        if _left < 0:
            jaxtyping.config.update("jaxtyping_disable", True)
        return whole(*args, **kwargs)

    return counted
