"""Writes tests/methods/sources.toml: of each built-in method its version and a digest of its code.

A built-in method's version stands for its code in a score's key. Where the code changes, raise the
version; where a change moves no number (a name, a split function), run this: it is the maintainer's
word for it.
"""

import ast
import hashlib
import importlib
from importlib.metadata import entry_points
from pathlib import Path

import harness

CONTRACT = (
    "harness.training.method",
    "harness.training.prompts",
    "harness.backbones.frozen",
    "harness.backbones.products",
    "harness.backbones.vit",
)
"""What every method is built on: a part of its code."""
ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests" / "methods" / "sources.toml"


def sources() -> dict[str, tuple[str, str]]:
    """(version, digest) by method: of its module, and of what it imports of `methods` and
    `CONTRACT`, without comments and docstrings."""
    found = {}
    for entry in sorted(entry_points(group="harness.methods"), key=lambda entry: entry.name):
        module, _, name = entry.value.partition(":")
        if module.partition(".")[0] == "methods":
            method = getattr(importlib.import_module(module), name)
            found[entry.name] = method.version, digest(module)
    return found


def digest(module: str) -> str:
    """sha256 of a module's code, and of what it imports of `methods` and `CONTRACT`, directly or
    not."""
    left: list[str] = [module]
    codes: dict[str, str] = {}
    while left:
        name = left.pop()
        if name not in codes:
            tree = ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))
            left += [
                other
                for other in _imported(tree)
                if other in CONTRACT or other.startswith("methods.")
            ]
            # not ast.dump, which differs from one Python to the next
            codes[name] = ast.unparse(_bare(tree))
    return hashlib.sha256(repr(sorted(codes.items())).encode()).hexdigest()


def _imported(tree: ast.Module) -> list[str]:
    """The modules that code imports from; of a public name of `harness`, the one where it lives."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "harness":
            found += [harness.ROOMS.get(name.name, "") for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


def _bare(tree: ast.Module) -> ast.Module:
    """Without texts that stand alone: docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            kept = [
                line
                for line in node.body
                if not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]
    return tree


def main() -> None:
    lines = ["# Written by scripts/method_sources.py: see there."]
    for name, (version, code) in sources().items():
        lines.append(f'\n["{name}"]\nversion = "{version}"\ncode = "{code}"')
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
