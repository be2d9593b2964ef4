"""Shell completion: names of methods, tasks, suites and protocols. Imports neither torch nor
ray."""

from collections.abc import Callable, Iterable


def methods(incomplete: str) -> list[str]:
    """Completes the last item of a comma-separated list."""
    from harness.planning.registry import registered

    return _last(incomplete, registered)


def tasks(incomplete: str) -> list[str]:
    """Completes the last item of a comma-separated list, from the shipped tasks."""
    from harness.tasks.cards import load_cards

    return _last(incomplete, load_cards)


def task(incomplete: str) -> list[str]:
    from harness.tasks.cards import load_cards

    return _beginning(incomplete, load_cards())


def suite(incomplete: str) -> list[str]:
    from harness.tasks.cards import load_suites

    return _beginning(incomplete, load_suites())


def protocol(incomplete: str) -> list[str]:
    from harness.planning import protocols

    return _beginning(incomplete, protocols.names())


def listed(incomplete: str) -> list[str]:
    return _beginning(incomplete, ("methods", "tasks", "suites", "protocols", "backbones"))


def _last(incomplete: str, names: Callable[[], Iterable[str]]) -> list[str]:
    before, comma, begun = incomplete.rpartition(",")
    listed = set(before.split(","))
    return [f"{before}{comma}{name}" for name in _beginning(begun, names()) if name not in listed]


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
