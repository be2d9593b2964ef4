"""The site of two people's submissions: boards, marks, what is escaped, and what links where."""

import csv
import io
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from submitted import filled, record_of, sent, sound

from harness.errors import BadInput
from harness.reporting.display import NOTHING
from harness.reporting.submissions.check import check_all
from harness.reporting.submissions.pages import build
from harness.store import Store, cell_key

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
VOID = {"meta", "link", "input", "wbr"}
NASTY = "Mallory <script>alert(1)</script> & \"co\" 'x'"


class Read(HTMLParser):
    """A page's links and ids; and whether every element is closed, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.elements: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        values = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := values.get(name))]
        if id := values.get("id"):
            assert id not in self.ids
            self.ids.add(id)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ada's rows; ben's, and his record of one of hers; and those of somebody with a method of
    their own and a strange name."""
    home = tmp_path_factory.mktemp("board")
    board, tasks = home / "submissions", ("digits", "fashion")
    ada = filled(home / "a.db", [sound(name, task) for name in ("vpt", "linear") for task in tasks])
    sent(board, "ada", ada, note="<b>bold</b>")
    again = record_of(ada.results()[0], home / "again.json")
    ben = filled(home / "b.db", [sound("lora", task) for task in tasks], right=300)
    sent(board, "ben", ben, "Ben Example", records=[again], board=board)
    own = []
    for source in ("a" * 64, "b" * 64):
        cell = sound("<i>mine</i>", "digits")
        method = {**cell.identity["method"], "source": source}
        cell = replace(cell, identity={**cell.identity, "method": method})
        own.append(replace(cell, key=cell_key(cell.identity)))
    sent(board, "mallory", filled(home / "m.db", own, (0,), 200), NASTY)
    for path in board.iterdir():
        assert path.name in ("ada", "ben", "mallory")
    built = build(check_all(board), home / "public")
    assert built.pages == len(list(built.to.rglob("*.html")))
    return built.to


def pages(public: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(public.rglob("*.html")):
        yield path, path.read_text()


def rows(text: str) -> list[list[str]]:
    """The first table's rows, as text."""
    body = text.partition("<tbody>")[2].partition("</tbody>")[0]
    found = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    cells = (re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL) for row in found)
    return [
        [" ".join(unescape(re.sub("<[^>]+>", " ", cell)).split()) for cell in row] for row in cells
    ]


def test_there_is_a_page_for_each_board_method_task_and_submission(public: Path) -> None:
    names = {path.relative_to(public).as_posix() for path in public.rglob("*.html")}
    assert names == {
        "index.html",
        "changes.html",
        "boards/mini-mini_vit-mini.html",
        "tasks/digits.html",
        "tasks/fashion.html",
        *(f"methods/{name}.html" for name in ("vpt", "linear", "lora", "i-mine-i")),
        *(f"submissions/{name}.html" for name in ("ada", "ben", "mallory")),
    }


def test_pages_are_whole_escaped_and_lead_somewhere(public: Path) -> None:
    found = {path: Read(text) for path, text in pages(public)}
    for path, read in found.items():
        assert {"script": read.elements.count("script"), "i": read.elements.count("i")} == {
            "script": 1,
            "i": 0,
        }
        for link in read.links:
            url = urlsplit(link)
            if url.scheme in ("https", "http", "data"):
                continue
            assert url.scheme == ""
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            assert target.is_file(), f"{path}: {link}"
            if url.fragment:
                assert url.fragment in found[target].ids, f"{path}: {link}"
    text = (public / "submissions" / "mallory.html").read_text()
    assert "Mallory &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in (public / "submissions" / "ada.html").read_text()


def test_a_board_ranks_methods_and_says_where_each_row_is_from(public: Path) -> None:
    board = (public / "boards" / "mini-mini_vit-mini.html").read_text()
    # 300 and 301 of 600 images, 250 and 251, 200; no mean over both tasks for what lacks one
    assert rows(board) == [
        ["lora", "50.1", "1.0", "50.1 ±0.1", "50.1 ±0.1", "960", "measured", "ben"],
        ["linear", "41.8", "2.5", "41.8 ±0.1", "41.8 ±0.1", "960", "measured", "ada"],
        ["vpt", "41.8", "2.5", "41.8 ±0.1 ✓", "41.8 ±0.1", "960", "reproduced 1 of 4", "ada"],
        ["<i>mine</i> [aaaaaa]", "1 of 2", NOTHING, "33.3", NOTHING, "960", "measured", "mallory"],
        ["<i>mine</i> [bbbbbb]", "1 of 2", NOTHING, "33.3", NOTHING, "960", "measured", "mallory"],
    ]


def test_the_csv_of_a_board_has_marks_and_senders(public: Path) -> None:
    text = (public / "boards" / "mini-mini_vit-mini.csv").read_text()
    lines = list(csv.DictReader(io.StringIO(text)))
    assert len(lines) == 14
    marked = [line for line in lines if line["mark"] == "reproduced"]
    assert [(one["variant"], one["task"], one["seed"]) for one in marked] == [
        ("vpt", "digits", "0")
    ]
    assert {line["submission"] for line in lines} == {"ada", "ben", "mallory"}


def test_a_methods_page_has_its_paper_parameters_costs_rows_and_commands(public: Path) -> None:
    text = (public / "methods" / "vpt.html").read_text()
    assert 'href="https://arxiv.org/abs/2203.12119"' in text
    assert "<code>prompts</code>" in text
    assert "harness run --methods vpt --tasks digits,fashion" in text
    assert "harness results import results/submissions/ada/rows.parquet\nharness reproduce" in text
    assert "Time (image)" in text
    assert '<span class="mark published">published</span>' in text
    own = (public / "methods" / "i-mine-i.html").read_text()
    assert "not part of the harness" in own
    assert "arxiv.org" not in own


def test_a_tasks_page_has_its_card_and_its_scores(public: Path) -> None:
    text = (public / "tasks" / "digits.html").read_text()
    assert "160 train, 80 val, 600 test" in text
    assert [row[:2] for row in rows(text)][:2] == [["lora", "50.1 ±0.1"], ["linear", "41.8 ±0.1"]]


def test_the_history_says_what_each_submission_has_added(public: Path) -> None:
    text = (public / "changes.html").read_text()
    found = [
        " ".join(re.sub("<[^>]+>", " ", one).split())
        for one in re.findall(r"<li><time.*?</li>\s*(?=<li><time|</ul>\s*</main>)", text, re.DOTALL)
    ]
    said = " ".join(found)
    assert "ada , by Ada Example: 8 results of 2 methods on 2 tasks." in said
    assert "New board mini on mini_vit (protocol mini) : linear, 41.8" in said
    assert "4 results of 1 method on 2 tasks; 1 row of others reproduced." in said
    assert "New leader on mini on mini_vit (protocol mini) : lora, 50.1" in said


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no chromium and chromedriver")
def test_in_a_browser_it_fits_a_phone_and_sorts_and_filters(public: Path) -> None:
    pytest.importorskip("selenium")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(flag)
    chrome = Chrome(options=options, service=Service(DRIVER))
    first = "return document.querySelector('tbody tr:not([hidden]) th').innerText"
    try:
        size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for path, _ in pages(public):
            chrome.get(path.as_uri())
            overflow = "return document.documentElement.scrollWidth - innerWidth"
            assert chrome.execute_script(overflow) <= 0, path
        chrome.get((public / "boards" / "mini-mini_vit-mini.html").as_uri())
        place = "return document.querySelector('tbody td').getBoundingClientRect().bottom"
        assert chrome.execute_script(place) < 844  # a score on the first screen
        click = "document.querySelectorAll('thead th button')[arguments[0]].click()"
        assert chrome.execute_script(first) == "lora"
        chrome.execute_script(click, 3)
        assert chrome.execute_script(first) == "lora"
        chrome.execute_script(click, 3)  # the worst on the first task, and not those without it
        assert chrome.execute_script(first).startswith("<i>mine</i>")
        find = "const box = document.querySelector('input'); box.value = arguments[0];"
        chrome.execute_script(find + "box.dispatchEvent(new Event('input'))", "reproduced ada")
        assert chrome.execute_script(first) == "vpt"
        count = "return document.getElementById('board-count').textContent"
        assert chrome.execute_script(count) == "1 of 5 shown"
        assert chrome.get_log("browser") == []
    finally:
        chrome.quit()


def test_a_sites_own_folder_is_replaced_and_no_other(public: Path, tmp_path: Path) -> None:
    board = tmp_path / "submissions"
    sent(board, "ada", filled(tmp_path / "a.db", [sound()]))
    outcomes, to = check_all(board), tmp_path / "public"
    build(outcomes, to)
    (to / "old.html").write_text("")
    build(outcomes, to)
    assert not (to / "old.html").exists()
    with pytest.raises(BadInput, match="holds something else"):
        build(outcomes, tmp_path)
    (board / "ada" / "more.txt").write_text("")
    with pytest.raises(BadInput, match=r"ada: fault: file: more\.txt"):
        build(check_all(board), to)
    assert (to / "index.html").is_file()


def test_an_empty_board_is_no_site(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no submission"):
        check_all(tmp_path)
    assert Store("sqlite://").cells() == {}
