"""Writes docs/licences.md from what the installed packages say of themselves: python
scripts/licences.py.

A test holds its names to pyproject.toml.
"""

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of what the project depends on

The project itself is MIT. These are its direct dependencies and extras, with the licence that each
package states of itself, and what the extra `peft` brings. What the others depend on in turn has
licences too: `pip-licenses` lists those of an environment. Data and pretrained weights have their
own: `harness data card TASK` shows a task's. `scripts/licences.py` writes this page.

"""


BROUGHT = (
    "accelerate",
    "hf_xet",
    "huggingface_hub",
    "psutil",
    "regex",
    "tokenizers",
    "transformers",
)
"""By peft; timm brings the client of its hub too."""


def dependencies() -> dict[str, str]:
    """Names of packages -> why they are installed: always, or by an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        _name(text): f"extra `{extra}`"
        for extra, texts in project["optional-dependencies"].items()
        for text in texts
    }
    brought = dict.fromkeys(BROUGHT, extras["peft"])
    return {_name(text): "always" for text in project["dependencies"]} | extras | brought


def licence(name: str) -> str:
    """In the package's own words: an SPDX expression, else its classifiers, else the first line of
    its licence field."""
    said = metadata(name).json
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in said.get("classifier", [])
        if text.startswith("License ::")
    ]
    return str(
        said.get("license_expression")
        or ", ".join(classifiers)
        or said.get("license")
        or "not stated"
    ).splitlines()[0]


def page() -> str:
    lines = ["| package | licence | installed |", "|---|---|---|"]
    lines += [
        f"| {name} | {licence(name)} | {why} |" for name, why in sorted(dependencies().items())
    ]
    return HEAD + "\n".join(lines) + "\n"


def _name(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return found[0]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
