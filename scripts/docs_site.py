"""What the site (`make docs`) has beyond docs/*.md: hooks that MkDocs calls by their names.

Pages that live elsewhere in the repository, such as datasets/README.md, get a place; links that are
right on GitHub are made right on the site; and two references are written from the code, so that
they can't be out of date: the public names of `harness`, and the commands with their options.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import harness
from harness.cli.examples import EXAMPLES
from harness.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = {
    "datasets/README.md": "datasets.md",
    "datasets/mini/README.md": "mini.md",
    "benchmarks/README.md": "benchmarks.md",
    "results/README.md": "published.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Files of the repository, and their pages on the site."""
STANDS_FOR = {"README.md": "index.md"}
"""Files that a link may name, and the page that takes their place."""
NAMES = {
    "Run": ("run", "Run", "plan", "ablate", "Ablation", "reproduce"),
    "Report": ("report", "Leaderboard", "compare"),
    "One model": ("fit", "load", "Tuned"),
    "Write a method": ("Method", "FrozenBackbone", "FrozenViT", "Read", "ADAMW_RATES"),
    "Errors": ("BadInput",),
}
"""The public names in the order of a reader; any other follows."""
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and every other file that a page links to."""
    for source, name in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    for name in sorted(
        {name for page in list(files.documentation_pages()) for name in linked(page)}
    ):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name[len("files/") :])))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put links right, and write the references."""
    if page.parent is None:
        page.meta["hide"] = ["navigation"]  # a section of one page has no list of pages to show
    markdown = LINK.sub(lambda link: place(link[1], page.file) or link[1], markdown)
    markdown = markdown.replace("<!-- public names -->", public_names())
    return markdown.replace("<!-- commands -->", "\n\n".join(commands("harness", command_line())))


def linked(page: File) -> Iterator[str]:
    """The files, other than pages, that a page links to: their places on the site."""
    for link in LINK.findall(page.content_string):
        name = place(link, page)
        if name is not None and name.startswith("files/"):
            yield name


def place(link: str, page: File) -> str | None:
    """Where a link of a page leads on the site; None if the repository has no such file."""
    sources = {name: source for source, name in PAGES.items()}
    source = ROOT / sources.get(page.src_uri, f"docs/{page.src_uri}")
    target = (source.parent / link).resolve()
    if target.is_dir():
        target /= "README.md"
    if not target.is_file() or not target.is_relative_to(ROOT):
        return None
    name = target.relative_to(ROOT).as_posix()
    known = PAGES | STANDS_FOR
    if name in known:
        return known[name]
    return name.removeprefix("docs/") if name.startswith("docs/") else f"files/{name}"


def public_names() -> str:
    """A section for each group of public names, filled by mkdocstrings from their docstrings."""
    grouped = {name for names in NAMES.values() for name in names}
    rest = tuple(name for name in harness.__all__ if name not in grouped)
    sections = []
    for title, names in (NAMES | {"More": rest}).items():
        if known := [f"::: harness.{name}" for name in names if name in harness.__all__]:
            sections.append("\n\n".join([f"## {title}", *known]))
    return "\n\n".join(sections)


def command_line() -> Any:
    """The command line as a tree of commands."""
    return typer.main.get_command(app)


def commands(name: str, group: Any) -> Iterator[str]:
    """A section for each command of a group and of the groups within it."""
    for child, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(f"{name} {child}", command)
        else:
            yield section(f"{name} {child}", command)


def section(name: str, command: Any) -> str:
    """A command: what it does, how it is called, and a table of what it takes."""
    arguments = [param for param in command.params if not hasattr(param, "is_flag")]
    options = [
        param
        for param in command.params
        if hasattr(param, "is_flag") and not param.hidden and param.name != "help"
    ]
    usage = " ".join([name, *map(placeholder, arguments), *(["[OPTIONS]"] if options else [])])
    table = ["| | what it does | default |", "|---|---|---|"]
    table += [row(f"`{placeholder(param)}`", param) for param in arguments]
    table += [row(" ".join(f"`{flag}`" for flag in flags(param)), param) for param in options]
    examples = [
        example + (f"  # {why}" if why else "")
        for example, why in EXAMPLES[name.removeprefix("harness ")]
    ]
    block = "\n".join(["```", usage, "```", "", "```sh", *examples, "```"])
    return "\n".join([f"## {name}", "", text(command.help), "", block, "", *table])


def placeholder(argument: Any) -> str:
    """An argument in the line that shows how a command is called."""
    name = (argument.metavar or argument.name).strip("[].").upper()
    name += "..." if argument.nargs == -1 else ""
    return name if argument.required else f"[{name}]"


def flags(option: Any) -> list[str]:
    return [*option.opts, *option.secondary_opts]


def row(name: str, param: Any) -> str:
    default = param.default
    shown = "required" if param.required else ""
    if default not in (None, False, ()) and not callable(default):
        shown = f"`{default}`"
    if param.envvar:
        shown = f"`${param.envvar}`"
    return f"| {name} | {text(param.help)} | {shown} |"


def text(message: str | None) -> str:
    """A help text in one line that is safe in a table and in HTML, with its quotes as code."""
    line = " ".join((message or "").split())
    return re.sub(r"[|<*\[\]]", lambda sign: f"\\{sign[0]}", line)
