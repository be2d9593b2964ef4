"""The bounds of pyproject.toml: one a package, wherever it is named, and one for each that the
project needs."""

import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
TOOLS = {"ruff", "pyright", "hatchling", "editables"}
"""Of the test group: no code of ours imports them, and no number depends on them."""


def requirements() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    lists = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    for text in [text for texts in lists for text in texts if isinstance(text, str)]:
        found.setdefault(Requirement(text).name, []).append(Requirement(text))
    return found


def test_a_package_has_the_same_bounds_wherever_it_is_named():
    for name, places in requirements().items():
        assert len({str(place.specifier) for place in places}) == 1, name


def test_every_package_has_a_lower_bound():
    for name, places in requirements().items():
        assert name in TOOLS or any(
            clause.operator == ">=" for place in places for clause in place.specifier
        ), name


def test_ray_whose_private_parts_are_used_has_an_upper_bound_that_holds_here():
    for place in requirements()["ray"]:
        assert any(clause.operator == "<" for clause in place.specifier)
        assert place.specifier.contains(version("ray"))
