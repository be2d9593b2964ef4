"""What the docs show works as shown."""

import re
import tomllib
from pathlib import Path

import datasets_readme

from harness.cards import TaskCard
from harness.orchestrate.jobs import FinalJob
from harness.orchestrate.worker import Bench
from harness.plan import Request, plan

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def block(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_method_is_short_and_trains(tiny):
    code = block("add_a_method.md", "python")
    assert len(code.splitlines()) <= 40
    (tiny.folder / "mine.py").write_text(code)
    for arguments in ("", "(blocks=1,scaled=false)"):
        method = f"{tiny.folder / 'mine.py'}:EarlyPrompts{arguments}"
        run = plan(Request(method, tasks="toy", cards=tiny.cards, protocol=str(tiny.protocol), backbone="mini_vit"))
        params = {"base_lr": 0.5, "weight_decay": 0.0, "prompts": 5} | ({} if arguments else {"blocks": 2})
        *_, (outcome,) = Bench(run, threads=1).carry_out(FinalJob(run.cells[0].key, (0,), params))
        assert outcome.reason is None
        assert outcome.trainable == (5 * 96 if arguments else 2 * 5 * 96 + 2)


def test_the_example_card_is_a_card():
    card = TaskCard(**tomllib.loads(block("add_a_task.md", "toml")))
    assert (card.name, card.classes, card.reader.format) == ("cifar10", 10, "vtab-folder")


def test_links_within_the_project_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("*/README.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_table_of_tasks_is_that_of_the_cards():
    page = (ROOT / "datasets" / "README.md").read_text()
    assert page == datasets_readme.written(page), "run scripts/datasets_readme.py"
