"""The documentation as a site: it builds without a warning, has every page, and needs nothing from
elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from typer.testing import CliRunner

import harness
from harness.cli.main import app

ROOT = Path(__file__).parent.parent
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself: the attribute of each element that names it."""


class Addresses(HTMLParser):
    """What a page loads, what it links to, and the ids in it."""

    def __init__(self, page: Path):
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif (address := values.get(LOADED.get(tag, ""))) is not None:
            self.loads.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    return folder


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = set(re.findall(r"[\w.-]+\.(?:md|ipynb)", str(nav)))
    docs = ROOT / "docs"
    assert {page.name for page in (*docs.rglob("*.md"), *docs.rglob("*.ipynb"))} <= named


def test_nothing_is_loaded_from_elsewhere(site: Path):
    pages = list(site.glob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loads = Addresses(page).loads
        assert loads
        assert not [address for address in loads if re.match(r"(https?:)?//", address)], page.name


def test_links_between_pages_lead_somewhere(site: Path):
    pages = {page.name: Addresses(page) for page in site.glob("*.html")}
    followed = 0
    for name, page in pages.items():
        for link in page.links:
            target, _, anchor = unquote(link).partition("#")
            if re.match(r"[a-z]+:", target) or name == "404.html":
                continue
            assert not target or (site / target).exists(), f"{name}: {link}"
            if anchor and (target or name) in pages:
                assert anchor in pages[target or name].ids, f"{name}: {link}"
            followed += 1
    assert followed > 100
    assert "datasets.html" in pages["add_a_task.html"].links  # on GitHub ../datasets/README.md
    assert "files/results/published.csv" in pages["verify.html"].links


def test_the_api_has_every_public_name(site: Path):
    assert {f"harness.{name}" for name in harness.__all__} <= Addresses(site / "api.html").ids


@pytest.mark.parametrize("command", ["run", "results rm", "data fetch", "list"])
def test_the_command_line_reference_has_every_option(site: Path, command: str):
    """Against what `--help` prints."""
    page = (site / "cli.html").read_text(encoding="utf-8")
    section = page[page.index(f'<h2 id="harness-{command.replace(" ", "-")}"') :]
    section = section[: section.index("<h2", 1)]
    help_text = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=200).output
    options = set(re.findall(r"--[a-z][a-z-]*", help_text)) - {"--help"}
    assert options or command == "list"
    assert options <= set(re.findall(r"--[a-z][a-z-]*", section))
