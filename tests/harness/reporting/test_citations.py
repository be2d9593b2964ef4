"""References: of every method that has a paper, by what its own file says."""

import re
import tomllib
from pathlib import Path
from typing import Any

from harness.io.resources import papers_toml
from harness.planning.registry import registered
from harness.reporting.citations import Paper, bibtex, papers

METHODS = Path(__file__).parents[3] / "methods"


def test_every_method_has_its_paper_but_for_the_two_that_have_none() -> None:
    assert set(registered()) - set(papers()) == {"linear", "full"}
    assert set(papers()) <= set(registered())


def test_numbers_are_those_that_the_methods_files_name() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in METHODS.glob("*.py"))
    for name, paper in papers().items():
        assert paper.arxiv in texts, name


def test_each_paper_is_there_once() -> None:
    listed: dict[str, Any] = tomllib.loads(papers_toml().read_text(encoding="utf-8"))
    numbers = [of["arxiv"] for of in listed.values()]
    assert len(numbers) == len(set(numbers))
    assert all(re.fullmatch(r"\d{4}\.\d{5}", number) for number in numbers)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", of.get("code", "a/b")) for of in listed.values())


def test_entries_of_what_is_shown(filler: Any) -> None:
    for variant in ("vpt", "vpt-deep(prompts=5)", "lora", "mine\n}"):
        filler.results(filler.cell(variant, "dtd"), [50.0])
    text = bibtex([filler.section()])
    assert re.findall(r"^@misc\{(\w+),$", text, re.M) == ["vpt_harness", "hu2022lora", "jia2022vpt"]
    assert text.count("{") == text.count("}") - 1  # that of the name
    assert "  eprint = {2203.12119}," in text
    assert "% mine }: no paper of its own is known here" in text
    assert "% task dtd: Cimpoi" in text


def test_an_entry_has_what_is_known_alone_and_can_be_typeset() -> None:
    fields = ["title = {{This \\& That}}", "howpublished = {arXiv}", "year = {2020}"]
    entry = Paper("a2020", "This & That", "arXiv", 2020).bibtex()
    assert entry == "@misc{a2020,\n" + "".join(f"  {field},\n" for field in fields) + "}\n"
