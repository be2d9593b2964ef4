"""What the docs show works as shown."""

import ast
import csv
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import datasets_readme
import licences
from command_line import parsed
from docs_commands import PAGES, UNPARSED, shown_commands
from outcomes import outcome_of
from train_step import flops, forward_flops

import harness
from harness.backbones import load
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.io import flags
from harness.io.resources import published_csv
from harness.planning import protocols
from harness.planning.cost import cell_cost
from harness.planning.plan import plan
from harness.planning.registry import families, registered
from harness.tasks.cards import TaskCard, load_cards, load_suites
from harness.testing import check_method

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
        run = plan(tiny.request(method))
        params = {"base_lr": 0.5, "weight_decay": 0.0, "prompts": 5} | (
            {} if arguments else {"blocks": 2}
        )
        outcome = outcome_of(Trainer(run, threads=1), FinalJob(run.cells[0].key, (0,), params))
        assert outcome.reason is None
        assert outcome.trainable == (5 * 96 if arguments else 2 * 5 * 96 + 2)


HEAD, *HOOKS = re.findall(
    r"```python\n(.*?)```",
    (DOCS / "add_a_method.md").read_text().partition("\n## What else the contract has\n")[2],
    re.DOTALL,
)


def test_each_hook_has_an_example_that_passes_all_checks():
    names: dict[str, Any] = {"__name__": "hooks"}
    exec(HEAD, names)
    assert len(HOOKS) == 11
    for code in HOOKS:
        assert len(code.splitlines()) <= 22
        before = set(names)
        exec(code, names)
        (name,) = set(names) - before
        report = check_method(names[name])
        assert report.ok, report
    hooks = "begin|advance|epoch|penalty|factors|effort|pool|width|stages|train_only|refuses"
    hooks += "|pack|unpack|merge"
    shown = "".join(HOOKS)
    assert set(re.findall(rf"\b({hooks})\b", shown)) == set(hooks.split("|"))
    for part in ("attend", "feed", "kv", "block_and_queries", "temperature", "project", "mix"):
        assert re.search(rf"\b{part}\b", shown), part


def test_the_method_for_swin_passes_all_checks_there():
    names: dict[str, Any] = {"__name__": "first"}
    exec(block("swin.md", "python"), names)
    report = check_method(names["FirstBlocks"], backbone=load("mini_swin").vit)
    assert report.ok, report
    trained = next(check for check in report.checks if check.name == "trained values")
    assert trained.said.startswith(f"{2 * 10 * 60:,}, "), trained


def test_what_the_api_s_page_does_can_be_called_so():
    """Each call has the arguments of the function that it names, and what it gives has what is read
    of it."""
    code = block("api.md", "python")
    given = {"run": harness.Run, "fit": harness.Tuned, "report": harness.Leaderboard}
    of_name: dict[str, type] = {}
    called = set()
    for statement in ast.parse(code).body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and re.fullmatch(r"harness\.\w+", ast.unparse(node.func)):
                name = ast.unparse(node.func).removeprefix("harness.")
                arguments = {word.arg: word.value for word in node.keywords if word.arg}
                inspect.signature(getattr(harness, name)).bind(*node.args, **arguments)
                called.add(name)
                if isinstance(statement, ast.Assign):
                    of_name[ast.unparse(statement.targets[0])] = given[name]
    assert called == {"run", "report", "compare", "fit"}
    assert set(of_name) == {"run", "model"}
    read = re.findall(r"\b(run|model)\.(\w+)", code)
    assert {name for _, name in read} == {"results", "trials", "curves", "leaderboard", "save"}
    for name, attribute in read:
        assert hasattr(of_name[name], attribute)


def test_the_example_card_is_a_card():
    card = TaskCard(**tomllib.loads(block("add_a_task.md", "toml")))
    assert (card.name, card.classes, card.reader.format) == ("cifar10", 10, "vtab-folder")


def test_readme_is_short_and_in_order():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    titles = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert titles[:6] == [
        "Install",
        "Your first board",
        "Your method",
        "Your data",
        "Your cluster",
        "Sharing",
    ]


def test_every_command_of_the_docs_is_one_that_the_command_line_takes():
    """Flags and arguments, without running it: test_docs_commands does."""
    commands = shown_commands()
    assert len(commands) > 60
    assert {line for _, line in commands} >= UNPARSED.keys()
    known = set(registered()) | {*families(), "everything", "mine", "theirs"}
    for page, line in commands:
        if line in UNPARSED:
            continue
        try:
            values = parsed(line)
        except Exception as error:
            raise AssertionError(f"{page}: {line}: {error}") from error
        for variant in flags.methods(values.get("methods")) or []:
            name = variant.partition("(")[0]
            assert ".py:" in name or name in known, f"{page}: {line}: no method {name}"
        for flag, names in (("suite", load_suites()), ("protocol", protocols.names())):
            value = values.get(flag)
            assert value is None or value in names or not value.islower() or "." in value, line


def test_no_code_block_was_joined_to_a_line():
    """As a tool that wraps paragraphs would do with a block that it takes for one."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"^ *``` *\S+ +\S.*", text, re.MULTILINE), page
        assert len(re.findall(r"^ *```", text, re.MULTILINE)) % 2 == 0, page


def test_links_within_the_project_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("*/README.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_prose_is_wrapped():
    """At 100 columns, as code is; not in tables and code blocks, which can't be."""
    for page in DOCS.glob("*.md"):
        prose = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        lines = [line for line in prose.splitlines() if not line.startswith("|")]
        assert [line for line in lines if len(line) > 100] == [], page.name


def test_the_table_of_tasks_is_that_of_the_cards():
    page = (ROOT / "datasets" / "README.md").read_text()
    assert page == datasets_readme.written(page), "run scripts/datasets_readme.py"


def test_every_dependency_has_its_reason_and_its_imports():
    """In CONTRIBUTING.md; and what nothing imports is none."""
    _, _, table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")
    reasons = re.findall(r"^\| `([\w.-]+)(?:\[\w+\])?` \| \S.* \|$", table, re.MULTILINE)
    always = [name for name, when in licences.dependencies().items() if when == "always"]
    assert sorted(reasons) == sorted({*always, "ray"})
    code = "\n".join(path.read_text() for path in (ROOT / "harness").rglob("*.py"))
    modules = {"pillow": "PIL", "protobuf": "google.protobuf", "google-crc32c": "google_crc32c"}
    for name in reasons:
        module = (modules.get(name) or name).replace(".", r"\.")
        assert re.search(rf"^ *(import|from) {module}\b", code, re.MULTILINE), name


def test_the_licences_are_of_all_dependencies():
    """Names and extras, not what they say: another version may word its licence in another way."""
    rows = re.findall(
        r"^\| ([\w.-]+) \| .+ \| (always|extra `\w+`) \|$", licences.PAGE.read_text(), re.MULTILINE
    )
    assert dict(rows) == licences.dependencies(), "run scripts/licences.py"


def test_what_verifying_costs_is_counted():
    """docs/verify.md's PFLOP, from the cards, the default protocol and the closed form of a
    step."""
    protocol, tasks = protocols.load("default"), ("cifar100", "eurosat", "dsprites_location")
    step, forward = flops(50, 64, ours=True, dropout=True), forward_flops(50)
    found = []
    for constant in (True, False):
        costs = [
            cell_cost(
                load_cards()[task], protocol, protocol.trials or 0, len(protocol.seeds), constant
            )
            for task in tasks
        ]
        found.append(sum(cost.train * step + cost.scored * forward for cost in costs) / 1e15)
    page = " ".join((DOCS / "verify.md").read_text().split())
    assert f"| linear, three tasks | {found[0]:.1f} | " in page
    assert f"no trial pruned, 50 prompts | {found[1]:.1f} | " in page
    assert (
        f"{step / 1e9:.1f} GFLOP per image trained on, {forward / 1e9:.1f} per image scored" in page
    )


def test_the_published_numbers_in_verify_are_those_of_the_file():
    with published_csv().open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["backbone"], row["pretrain"]) == ("ViT-B/16", "sup-IN21k")
        ]
    values = {(row["method"], row["task"]): row["value"] for row in rows}
    page = (DOCS / "verify.md").read_text()
    for task in ("cifar100", "eurosat", "dsprites_location"):
        assert f"| {task} | {values['linear', task]} | {values['vpt-deep', task]} |" in page


def test_the_page_of_methods_is_that_of_the_classes():
    import methods_page

    page = (DOCS / "methods.md").read_text()
    assert page == methods_page.page()
    paragraphs = [part for part in page.split("\n\n") if part[:1] not in ("|", "R")]
    assert len(set(paragraphs)) == len(paragraphs)


def test_the_page_of_backbones_is_of_the_families_and_methods_that_there_are():
    import backbones_page

    assert (DOCS / "backbones.md").read_text() == backbones_page.page()
