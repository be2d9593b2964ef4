"""A built-in method's version stands for its code in a score's key: it must not change without
it."""

import tomllib
from pathlib import Path

import method_sources
import pytest

RECORDED = tomllib.loads((Path(__file__).parent / "sources.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def sources() -> dict[str, tuple[str, str]]:
    return method_sources.sources()


def test_every_built_in_method_is_recorded(sources: dict[str, tuple[str, str]]):
    assert set(RECORDED) == set(sources), "run scripts/method_sources.py"


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_code_that_changed_has_another_version(name: str, sources: dict[str, tuple[str, str]]):
    version, code = sources[name]
    before = RECORDED[name]
    mend = "Raise `version` and run scripts/method_sources.py; where no number moves, run it alone"
    assert code == before["code"] or version != before["version"], (
        f"the code of method '{name}', or of a module of methods/ that it imports, has changed, and"
        f" its version is still {version}: scores of the old code would pass for those of the new."
        f" {mend}."
    )
    assert (version, code) == (
        before["version"],
        before["code"],
    ), "the version was raised: run scripts/method_sources.py to record it"


def test_comments_and_docstrings_are_no_code_and_all_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for folder in ("methods", "harness/training"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(method_sources, "ROOT", tmp_path)

    def digest(mine: str, base: str = "X = 1", contract: str = "Y = 1") -> str:
        """Of `mine`, which imports a method of `base`, and the contract by its public name."""
        imports = "from harness import Method\nfrom methods.base import X\n\n\n"
        (tmp_path / "methods" / "mine.py").write_text(imports + mine)
        (tmp_path / "methods" / "base.py").write_text(base)
        (tmp_path / "harness" / "training" / "method.py").write_text(contract)
        return method_sources.digest("methods.mine")

    first = digest("def f():\n    return X\n")
    said = 'def f():\n    """Says more."""\n    return X  # yes\n'
    assert digest(said) == first
    assert digest("def f():\n    return -X\n") != first
    assert digest("def f():\n    return X\n", base="X = 2") != first
    assert digest("def f():\n    return X\n", contract="Y = 2") != first
