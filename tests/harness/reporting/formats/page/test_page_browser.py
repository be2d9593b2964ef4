"""The page in a real Chromium without a screen: what a reader does with a mouse, with a keyboard,
on a phone, in the dark.

Takes Debian's packages chromium and chromium-driver. Where they are absent these tests are skipped;
with VPT_HARNESS_REQUIRE_BROWSER=1 they fail.
"""

import base64
import csv
import io
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import synthetic_store
from PIL import Image

from harness.reporting.contents import Contents
from harness.reporting.formats.page.html import page, write
from harness.reporting.report import Report
from harness.reporting.serve import Server
from harness.store import Store, Trial
from harness.tasks.cards import load_suites

BINARY, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
REQUIRED = os.environ.get("VPT_HARNESS_REQUIRE_BROWSER") == "1"
if not REQUIRED:
    pytest.importorskip("selenium")

from selenium.webdriver import Chrome, ChromeOptions  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.remote.webelement import WebElement  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

NASTY = "x(a='\"<script>alert(1)</script>&<b>)"

pytestmark = pytest.mark.skipif(
    not (BINARY and DRIVER) and not REQUIRED,
    reason="no chromium and chromedriver: apt-get install chromium chromium-driver",
)


def _page(store: Store, live: str = "", numbers: Any = None, **options: Any) -> str:
    return page(Contents(store, **options), live, numbers)


def words(element: WebElement) -> list[str]:
    """Its classes."""
    return str(element.get_attribute("class")).split()


class Reader:
    """A browser with a page open."""

    def __init__(self, chrome: Chrome):
        self.chrome = chrome

    def open(self, address: str) -> None:
        """A file or URL, as if for the first time; forgets what was logged before."""
        self.chrome.get("about:blank")
        self.logs()
        self.chrome.get(address)

    def all(self, selector: str) -> list[WebElement]:
        return self.chrome.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.chrome.find_element(By.CSS_SELECTOR, selector)

    def seen(self, selector: str) -> list[WebElement]:
        return [element for element in self.all(selector) if element.is_displayed()]

    def texts(self, selector: str) -> list[str]:
        """Of what is displayed, in order; read at once."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].filter(e =>"
            " e.checkVisibility()).map(e => e.innerText.trim())"
        )
        return self.chrome.execute_script(script, selector)

    def numbers(self, selector: str) -> list[float]:
        return [float(text.split()[0]) for text in self.texts(selector) if text[0].isdigit()]

    def click(self, selector: str, text: str = "") -> None:
        next(element for element in self.seen(selector) if text in element.text).click()

    def press(self, *keys: str) -> None:
        """Each key where the focus is."""
        for key in keys:
            self.focus.send_keys(key)

    def tab_to(self, wanted: Callable[[WebElement], bool]) -> None:
        """By Tab to the next element that is wanted; gives up after 40."""
        for _ in range(40):
            self.press(Keys.TAB)
            if wanted(self.focus):
                return
        raise AssertionError("Tab doesn't lead there")

    @property
    def focus(self) -> WebElement:
        return self.chrome.switch_to.active_element

    def wait(self, true: Callable[[], Any], seconds: float = 30) -> None:
        WebDriverWait(self.chrome, seconds, poll_frequency=0.05).until(lambda _: true())

    def logs(self) -> tuple[list[str], list[str]]:
        """What the console said, and the addresses that were asked for, since the last time."""
        console = [entry["message"] for entry in self.chrome.get_log("browser")]
        events = [
            json.loads(entry["message"])["message"] for entry in self.chrome.get_log("performance")
        ]
        asked = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return console, asked

    def emulate(self, width: int, height: int, scheme: str = "light") -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.chrome.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    assert BINARY, "chromium is absent, and VPT_HARNESS_REQUIRE_BROWSER=1"
    assert DRIVER, "chromedriver is absent, and VPT_HARNESS_REQUIRE_BROWSER=1"
    options = ChromeOptions()
    options.binary_location = BINARY
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def reader(chrome: Chrome) -> Reader:
    reader = Reader(chrome)
    reader.emulate(1280, 900)
    return reader


@pytest.fixture(scope="module")
def vtab(tmp_path_factory: pytest.TempPathFactory) -> str:
    """14 variants on VTAB-1k, with a failed cell and an empty one; its address."""
    store = Store("sqlite://")
    synthetic_store.fill(store, wanted=14, suite="vtab", points=30, gaps=True)
    return _written(
        tmp_path_factory,
        _page(store, tasks=load_suites()["vtab"].tasks, suite="vtab"),
    )


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> str:
    """4 variants on the mini suite, whose groups aren't folded."""
    store = Store("sqlite://")
    synthetic_store.fill(store, wanted=4, suite="mini", seeds=3)
    return _written(tmp_path_factory, _page(store))


def _written(folder: pytest.TempPathFactory, text: str) -> str:
    path = folder.mktemp("page") / "page.html"
    write(path, text)
    return path.as_uri()


NAMES, MEANS = "#panel-leaderboard tbody .name", "#panel-leaderboard tbody td:nth-child(2)"


def bare(name: str) -> str:
    """A variant's name as its cell shows it, without line breaks and marks."""
    return re.sub(r"[\s†⚖]", "", name)


def test_nothing_is_asked_for_and_nothing_goes_wrong(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    tabs = reader.all("[role=tab]")
    assert len(tabs) == 7
    for tab in tabs:
        tab.click()
        assert reader.seen("[role=tabpanel] h2")
    reader.click("[role=tab]", "Leaderboard")
    reader.click(MEANS)
    console, asked = reader.logs()
    assert console == []
    assert {address.partition(":")[0] for address in asked} <= {"file", "data"}
    assert [address for address in asked if address.startswith("file")] == [vtab]


def test_columns_sort_by_a_click(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    whole = reader.numbers(f"{MEANS} span:not(.part)")
    assert whole == sorted(whole, reverse=True)
    assert reader.one("th[aria-sort]").get_attribute("aria-sort") == "descending"
    reader.click("button.sort", "Mean of 19")
    assert reader.one("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert reader.numbers(f"{MEANS} span:not(.part)") == sorted(whole)
    # means that lack a task stay last
    assert len(reader.texts("tbody tr:nth-child(n + 13) .part")) == 2
    reader.click("button.sort", "Method")
    assert reader.texts(NAMES)[:3] == ["adaptformer", "bitfit", "full"]
    reader.click("button.sort", "Params")
    assert reader.texts(NAMES)[0].startswith("linear")


def test_rows_filter_by_text_and_by_method(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    find = reader.one("input[type=search]")
    find.send_keys("ivpt da=false")
    assert len(reader.texts(NAMES)) == 4
    assert reader.texts(".count") == ["4 of 14 variants"]
    find.clear()
    find.send_keys("nothing of this")
    assert reader.texts(NAMES) == []
    find.clear()
    find.send_keys(" ")
    reader.click("details.menu summary", "Methods")
    reader.click("label.check", "ivpt")
    assert len(reader.texts(NAMES)) == 8
    reader.click("button.tool", "None")
    assert reader.texts(NAMES) == []
    reader.click("button.tool", "All")
    assert len(reader.texts(NAMES)) == 14
    reader.press(Keys.ESCAPE)
    assert not reader.seen("details.menu label.check")


def test_groups_fold_to_their_mean(reader: Reader, vtab: str, mini: str) -> None:
    reader.open(vtab)
    assert reader.texts("th.task") == []
    assert len(reader.texts("th.gmean")) == 3
    reader.click("button.fold", "natural")
    assert [title.split("\n")[0].strip() for title in reader.texts("th.task")][:2] == [
        "cifar100",
        "caltech101",
    ]
    assert len(reader.texts("th.task")) == 7
    assert reader.one("button.fold").get_attribute("aria-expanded") == "true"
    reader.click("button.tool", "Unfold tasks")
    assert (len(reader.texts("th.task")), len(reader.texts("th.gmean"))) == (19, 3)
    reader.click("button.tool", "Fold tasks")
    assert reader.texts("th.task") == []
    widths = reader.chrome.execute_script(
        "return [...document.querySelectorAll('thead tr')].map(r => [...r.cells].filter(c =>"
        " !c.hidden).reduce((n, c) => n + c.colSpan, 0))"
    )
    assert widths[0] == widths[1]
    reader.open(mini)
    assert len(reader.texts("th.task")) == 5


def test_columns_can_be_chosen(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    titles = [title.replace("\n", " ") for title in reader.texts("thead tr:last-child th")]
    assert titles[:5] == ["Method", "Mean of 19", "Mean of 3 groups", "Rank", "Params"]
    reader.click("details.menu summary", "Columns")
    for name in ("Rank", "Train GFLOP", "Memory", "Search units"):
        reader.click("label.check", name)
    titles = [title.replace("\n", " ") for title in reader.texts("thead tr:last-child th")]
    assert titles[:6] == [
        "Method",
        "Mean of 19",
        "Mean of 3 groups",
        "Params",
        "Memory",
        "Search units",
    ]


def test_marks_are_those_of_the_data(reader: Reader, mini: str) -> None:
    reader.open(mini)
    section = reader.chrome.execute_script(
        "return JSON.parse(document.getElementById('about').textContent).sections[0]"
    )
    rows = [
        row.find_elements(By.CSS_SELECTOR, "td.task")
        for row in reader.all("#panel-leaderboard tbody tr")
    ]
    for t in range(5):
        cells = [row[t] for row in rows]
        means = [row[t][0] for row in section["cells"]]
        shown = [round(mean, 1) for mean in means]
        for cell, mean in zip(cells, shown, strict=True):
            assert cell.text.split()[0] == f"{mean:.1f}"
            assert ("first" in words(cell)) == (mean == max(shown))
        near = [index for index, cell in enumerate(cells) if "near" in words(cell)]
        assert near == [
            index for index in section["tasks"][t]["near"] if shown[index] != max(shown)
        ]


def test_numbers_are_shown_as_the_other_formats_show_them(
    reader: Reader, filler: Any, tmp_path: Path
) -> None:
    """Counts, rounded halves, and a front that two variants share; `--sort` is the page's order."""
    for variant, scores, trainable in (
        ("big", [62.25, 62.25], 2_500_000_000),
        ("b", [62.25, 62.25], 999_500),
        ("a", [62.25, 62.25], 999_500),
        ("small", [50.125, 50.125], 960),
    ):
        filler.results(filler.cell(variant, "digits"), scores, trainable=trainable)
    contents = Report(filler.store, sort="params")
    write(tmp_path / "page.html", str(contents.render("html")))
    reader.open((tmp_path / "page.html").as_uri())
    lines = str(contents.render("md")).splitlines()
    table = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    titles, _, *rows = ([re.sub(r"[*≈]", "", text) for text in line] for line in table)
    shown = [title.replace("\n", " ") for title in reader.texts("thead th")]
    assert [row[0] for row in rows] == reader.texts(NAMES) == ["small", "a", "b", "big"]
    for title in titles[1:]:
        cells = reader.texts(f".board tbody td:nth-child({_column(reader, title)})")
        assert cells == [row[titles.index(title)] for row in rows], title
    assert reader.one("th[aria-sort]").text == "Params"
    assert len(shown) == 6
    reader.click("[role=tab]", "Trade-off")
    labels = reader.texts("#panel-tradeoff tbody th")
    assert labels == ["small", "a", "b"]
    assert len(reader.all("#panel-tradeoff circle.on")) == 3


def _column(reader: Reader, title: str) -> int:
    """Its place among all columns, hidden ones too."""
    script = "return [...document.querySelectorAll('.board thead th')].map(e => e.textContent)"
    return reader.chrome.execute_script(script).index(title) + 1


def test_a_cell_opens_with_all_that_is_known(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    reader.click("button.fold", "natural")
    reader.click("td.task")
    dialog = reader.one("dialog[open]")
    text = dialog.text
    assert f"{bare(reader.texts(NAMES)[0])} on cifar100" in text
    assert len(reader.all("dialog table.seeds tbody tr")) == 5
    for said in ("base_lr", "NVIDIA A100", "torch", "95 % interval", "harness reproduce"):
        assert said in text
    first = reader.all("dialog table.seeds code")[0].text
    assert f"harness reproduce {first}" in text
    reader.press(Keys.ESCAPE)
    assert reader.all("dialog[open]") == []
    reader.click("td.gap")
    assert "seed 42 failed: OutOfMemoryError" in reader.one("dialog[open]").text
    reader.click("button.close")
    reader.click("tbody .name b", "lora")
    reader.click("dialog button.link", "dtd")
    assert "lora on dtd" in reader.one("dialog[open]").text


def test_training_curves_are_drawn_a_chart_a_name(
    reader: Reader, tmp_path: Path, filler: Any
) -> None:
    at = {"epoch": [1, 2, 3], "lr": [0.1, 0.2, 0.0]}
    key = filler.cell("a", "digits")
    filler.results(key, [60.0], curves={**at, "loss": [2.0, None, 1.0]})
    filler.results(key, [61.0], first_seed=1, curves={**at, "loss": [2.0, 1.5, 0.5]})
    write(tmp_path / "curves.html", _page(filler.store))
    reader.open((tmp_path / "curves.html").as_uri())
    reader.click("td.task")
    assert "Scores" not in reader.texts("dialog h3")  # scored once: no curve
    assert reader.texts("dialog figcaption") == ["seed 0\nseed 1", "all seeds"]
    labels = [svg.get_attribute("aria-label") for svg in reader.all("dialog figure svg")]
    assert labels == [
        "loss by epoch: seed 0 ends at 1, seed 1 ends at 0.5",
        "lr by epoch: all seeds ends at 0",
    ]
    console, _ = reader.logs()
    assert console == []


def test_many_notes_on_methods_are_one_box_that_opens(
    reader: Reader, tmp_path: Path, filler: Any
) -> None:
    notes = {
        "a": "a's numbers are others.",
        "b": "b is our reading of its paper.",
        "c": "",
        "d": "",
    }
    for variant, note in notes.items():
        filler.results(filler.cell(variant, "digits", note=note), [60.0])
    write(tmp_path / "two.html", _page(filler.store))
    reader.open((tmp_path / "two.html").as_uri())
    assert reader.texts("#readings summary") == ["\u2020 Note on a", "\u2020 Our reading of b"]
    assert reader.texts("#readings p")[0] == "a's numbers are others. Its rows, marked \u2020: a."
    filler.results(filler.cell("e", "digits", note="e's numbers are older."), [61.0])
    write(tmp_path / "three.html", _page(filler.store))
    reader.open((tmp_path / "three.html").as_uri())
    (title,) = reader.texts("#readings summary")
    assert title == "\u2020 Notes on 3 methods, whose rows have this mark"
    assert reader.seen("#readings li") == []
    reader.click("#readings summary")
    assert reader.texts("#readings li") == [
        "e: e's numbers are older.",
        "a: a's numbers are others.",
        "b: b is our reading of its paper.",
    ]


def test_families_fold_to_their_best(reader: Reader, tmp_path: Path, filler: Any) -> None:
    for variant, family, score in (
        *(("vpt", "prompts", 60.0), ("vpt-deep", "prompts", 70.0), ("lora", "peft", 65.0)),
        *(("linear", "references", 50.0), ("mine", "", 40.0), ("other", "", 30.0)),
    ):
        key = filler.cell(variant, "digits", family=family, year=2022 if family else None)
        filler.results(key, [score], extras={"flops": 3e9} if family else None)
    write(tmp_path / "families.html", _page(filler.store))
    reader.open((tmp_path / "families.html").as_uri())
    assert "best of" not in reader.one(".board").text
    assert reader.texts("p.folded") == []
    reader.click("label", "Best of each family")
    names = [text.splitlines() for text in reader.texts(NAMES)]
    assert names == [
        ["vpt-deep", "best of 2 prompts"],
        ["lora"],
        ["linear"],
        ["mine"],
        ["other"],
    ]
    reader.one("input[type=search]").send_keys("vpt")
    assert [text.splitlines() for text in reader.texts(NAMES)] == [["vpt-deep"], ["vpt"]]
    assert reader.logs()[0] == []


def test_a_board_of_many_opens_folded(reader: Reader, tmp_path: Path, filler: Any) -> None:
    """To the best by the mean, or by the rank where rows are sorted by it; a family unfolds by
    itself."""
    for at in range(10):
        for family in ("prompts", "peft"):
            # the first has the best mean, by one task; the second has the better ranks
            first = 9.0 if at == 0 else float(-at)
            for task, score in (("digits", first * 5), ("wine", -at % 10), ("cancer", -at % 10)):
                key = filler.cell(f"{family}{at}", task, family=family)
                filler.results(key, [60.0 + score + (family == "peft")])
    filler.results(filler.cell("mine", "digits"), [10.0])
    write(tmp_path / "many.html", _page(filler.store, tasks=("digits", "wine", "cancer")))
    reader.open((tmp_path / "many.html").as_uri())
    folded = [["peft0", "best of 10 peft"], ["prompts0", "best of 10 prompts"], ["mine"]]
    assert [text.splitlines() for text in reader.texts(NAMES)] == folded
    assert reader.texts(".count") == ["3 of 21 variants"]
    assert "the luckiest of 10" in reader.texts("p.folded")[0]
    reader.click("button.sort", "Rank")
    assert [text.splitlines()[0] for text in reader.texts(NAMES)] == ["peft1", "prompts1", "mine"]
    reader.click("button.sort", "Mean of 3")
    reader.tab_to(lambda element: element.tag_name == "td")
    reader.press(Keys.ARROW_LEFT)
    assert reader.focus.text == "best of 10 peft"
    reader.press(Keys.ENTER)
    assert len(reader.texts(NAMES)) == 12
    assert (reader.focus.text, reader.focus.get_attribute("aria-expanded")) == ("10 peft", "true")
    assert reader.all("dialog[open]") == []
    reader.click("label", "Best of each family")
    assert len(reader.texts(NAMES)) == 3
    reader.click("label", "Best of each family")
    assert reader.texts(".count") == ["21 variants"]
    assert reader.texts("p.folded") == []
    reader.wait(lambda: "families" in reader.chrome.current_url)
    reader.chrome.refresh()
    assert reader.texts(".count") == ["21 variants"]


def test_all_of_it_by_keyboard(reader: Reader, mini: str) -> None:
    reader.open(mini)
    reader.press(Keys.TAB)
    assert reader.focus.text == "Skip to the table"
    reader.press(Keys.ENTER)
    assert reader.focus == reader.seen(MEANS)[0]
    reader.chrome.execute_script("document.getElementById('tab-leaderboard').focus()")
    reader.press(Keys.ARROW_RIGHT)
    assert reader.focus.get_attribute("aria-selected") == "true"
    assert reader.texts("[role=tabpanel] h2:not(.printed)") != []
    assert reader.one("#panel-tests").is_displayed()
    reader.press(Keys.END)
    assert reader.one("#panel-sources").is_displayed()
    reader.press(Keys.HOME)
    reader.tab_to(lambda element: element.tag_name == "td")
    reader.press(Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert reader.focus.text == "Method"
    reader.press(Keys.ENTER)
    assert reader.focus.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    names = [bare(name) for name in reader.texts(NAMES)]
    assert names == sorted(names)
    reader.press(Keys.ARROW_DOWN, Keys.HOME)
    assert reader.focus == reader.seen(MEANS)[0]
    reader.press(Keys.ARROW_DOWN, Keys.END)
    assert "task" in str(reader.focus.get_attribute("class"))
    cell = reader.focus
    reader.press(Keys.ENTER)
    assert reader.one("dialog[open] h2").text.startswith(f"{names[1]} on ")
    reader.press(Keys.ESCAPE)
    assert reader.all("dialog[open]") == []
    assert reader.focus == cell
    reader.press(Keys.HOME, Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert reader.focus == reader.seen(MEANS)[0]
    reader.press(Keys.TAB)
    assert not reader.focus.find_elements(By.XPATH, "ancestor::table")  # one stop for it all


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_the_table_and_not_the_page(reader: Reader, vtab: str, scheme: str) -> None:
    reader.emulate(390, 844, scheme)
    reader.open(vtab)
    reader.click("button.tool", "Unfold tasks")
    wide = "return document.documentElement.scrollWidth"
    for tab in [element.get_attribute("id") for element in reader.all("[role=tab]")]:
        reader.chrome.execute_script("document.getElementById(arguments[0]).click()", tab)
        assert reader.chrome.execute_script(wide) == 390, tab
    reader.chrome.execute_script("document.getElementById('tab-leaderboard').click()")
    box = reader.one("#panel-leaderboard .scroll")
    assert reader.chrome.execute_script(
        "return arguments[0].scrollWidth > arguments[0].clientWidth", box
    )
    reader.chrome.execute_script("arguments[0].scrollLeft = 300", box)
    assert reader.seen(NAMES)[0].rect["x"] == pytest.approx(box.rect["x"] + 1, abs=1.5)
    reader.click("td.task")
    assert reader.one("dialog[open]").rect["width"] <= 390


COLOURS = """const draw = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const seen = (colour) => {
    draw.fillStyle = colour;
    draw.fillRect(0, 0, 1, 1);
    return [...draw.getImageData(0, 0, 1, 1).data.slice(0, 3)];
};
const probe = document.body.appendChild(document.createElement("i"));
const named = (name) => { probe.style.color = `var(--${name})`; return seen(getComputedStyle(probe).color); };
const hottest = document.querySelector("tbody td.task");
hottest.style.setProperty("--heat", 1);
const found = Object.fromEntries(arguments[0].map((name) => [name, named(name)]));
const behind = (element) => seen(getComputedStyle(element).backgroundColor);
return { ...found, hottest: behind(hottest), page: behind(document.documentElement) };"""


def _luminance(colour: list[int]) -> float:
    """WCAG 2.1's relative luminance of red, green and blue, 0 to 255."""
    linear = [
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4
        for value in (part / 255 for part in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_wcag_aa(reader: Reader, vtab: str, scheme: str) -> None:
    reader.emulate(1280, 900, scheme)
    reader.open(vtab)
    texts, grounds = (
        ["ink", "dim", "accent", "bad", "good", "note-ink"],
        ["ground", "paper", "soft", "accent-soft"],
    )
    colours = reader.chrome.execute_script(COLOURS, [*texts, *grounds, "note"])
    assert colours["page"] == colours["ground"]
    assert (_luminance(colours["page"]) < 0.1) == (scheme == "dark")
    pairs = [(text, behind) for text in texts for behind in grounds]
    for text, behind in [*pairs, ("ink", "hottest"), ("dim", "hottest"), ("ink", "note")]:
        low, high = sorted(_luminance(colours[name]) for name in (text, behind))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, behind)


def test_what_comes_from_outside_is_text(reader: Reader, tmp_path: Path, filler: Any) -> None:
    for variant in (NASTY, f"{NASTY[:-1]},da=false)", "vpt"):
        for task in (NASTY, "digits"):
            key = filler.cell(
                variant, task, suite=NASTY, group=NASTY, note=NASTY, name=NASTY, backbone=NASTY
            )
            filler.results(key, [50.0, 51.0])
    filler.failure(
        filler.cell("vpt", "fashion", suite=NASTY, group=NASTY, name=NASTY, backbone=NASTY),
        0,
        NASTY,
    )
    write(tmp_path / "page.html", _page(filler.store))
    reader.open((tmp_path / "page.html").as_uri())
    scripts = len(reader.all("script"))
    for tab in reader.all("[role=tab]"):
        tab.click()
    reader.one("[role=tab]").click()
    reader.click("tbody .name", "x(")
    assert NASTY in reader.one("dialog h2").text
    reader.click("dialog button.link", NASTY)
    assert f"{NASTY} on {NASTY}" in " ".join(reader.one("dialog h2").text.split())
    assert (scripts, len(reader.all("script")), reader.all("b b, td b b, dialog b b")) == (3, 3, [])
    assert NASTY in str(reader.one("#panel-failures").get_attribute("textContent"))
    assert NASTY in reader.chrome.title
    assert reader.logs()[0] == []


def test_what_was_chosen_is_in_the_address(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    reader.click("button.fold", "specialized")
    reader.click("button.sort", "Rank")
    reader.one("input[type=search]").send_keys("ivpt")
    reader.click("[role=tab]", "Ablations")
    reader.wait(
        lambda: "ablations" in reader.chrome.current_url and "find" in reader.chrome.current_url
    )
    reader.chrome.refresh()
    assert reader.one("#panel-ablations").is_displayed()
    reader.click("[role=tab]", "Leaderboard")
    assert len(reader.texts("th.task")) == 4
    assert len(reader.texts(NAMES)) == 6
    assert reader.one("th[aria-sort]").text == "Rank"


def test_segmentation_has_a_column_for_several_scales_and_a_strip_of_images(
    reader: Reader, tmp_path: Path, filler: Any
) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(content, "png")
    picture = base64.b64encode(content.getvalue()).decode()
    for variant, score in (("vpt", 50.0), ("linear", 48.0)):
        filler.results(
            filler.cell(
                variant,
                "scenes",
                metric="miou",
                suite="mini-seg",
                group="sprites",
                protocol={"iterations": 240},
            ),
            [score, score + 1],
        )
    first, *_, last = filler.store.results()
    filler.store.add_extras(
        first.id,
        {
            "strip": [
                {"row": row, "image": picture, "truth": picture, "seen": picture} for row in (3, 1)
            ]
        },
    )
    filler.store.add_extras(last.id, {"miou_ms": 51.5})
    write(tmp_path / "page.html", _page(filler.store))
    reader.open((tmp_path / "page.html").as_uri())
    assert reader.texts(".board thead th")[-2:] == ["scenes mIoU-SS", "scenes mIoU-MS"]
    assert reader.texts(".board tbody td:last-child") == ["\u2013", "51.5 n=1"]
    assert [text.replace("\n", "") for text in reader.texts(".strip thead th")] == [
        "Input",
        "Truth",
        "vpt",
        "linear",
    ]
    shown = reader.chrome.execute_script(
        "return [...document.querySelectorAll('.strip img')].map((i) => [i.naturalWidth, i.alt])"
    )
    assert [width for width, _ in shown] == [40] * 6
    assert shown[-1] == [40, "scenes, image 2: vpt"]
    assert reader.texts(".strip td:last-child") == ["\u2013"] * 2
    assert reader.logs()[0] == []
    reader.click(".board tbody td:last-child", "51.5")
    assert "scenes" in reader.one("dialog h2").text
    reader.press(Keys.ESCAPE)
    reader.click(".board tbody td.sum")
    assert "Iterations\n240" in reader.one("dialog").text
    assert reader.logs()[0] == []


def test_every_tab_says_what_it_is_for(reader: Reader, vtab: str, mini: str) -> None:
    reader.open(vtab)
    for tab in reader.all("[role=tab]"):
        tab.click()
    text = {
        part: str(reader.one(f"#panel-{part}").get_attribute("textContent"))
        for part in ("tests", "ablations", "published", "failures", "sources")
    }
    assert "Friedman's test over 19 tasks and 12 methods" in text["tests"]
    assert "Left out because they lack tasks" in text["tests"]
    assert len(reader.all("#panel-tests svg.cd text.name")) == 12
    assert len(reader.all("#panel-tests .verdict")) == 12 * 11 / 2
    assert "Differences to all toggles off, ivpt(ar=false,cdc=false,da=false)" in text["ablations"]
    assert len(reader.all("#panel-ablations svg.whisker")) == 4
    assert len(reader.all("#panel-tradeoff circle.point")) == 12
    assert len(reader.all("#panel-published tr.measured")) == 14
    assert len(reader.all("#panel-published tr.published")) > 10
    assert reader.all("#panel-published .first, #panel-published .second") == []
    assert len(reader.all("#panel-failures tbody tr")) == 2
    for said in (
        "Pooling",
        "Cimpoi",
        "Visual Prompt Tuning",
        "base_lr: 0.05 to 50 (logarithmic)",
        "Fingerprint",
        "bootstrap",
        "Holm",
        "2 \u2696",
        "NVIDIA A100",
    ):
        assert said in text["sources"]
    assert (
        "ivpt is our reading of arXiv 2404.05207: CDC and DA agree" in reader.one("#readings").text
    )
    reader.open(mini)
    reader.click("[role=tab]", "Published")
    assert (
        "No published numbers: no paper's numbers on these tasks"
        in reader.one("#panel-published").text
    )


def test_it_prints_all_parts_and_no_controls(reader: Reader, vtab: str, tmp_path: Path) -> None:
    reader.open(vtab)
    assert (
        len(base64.b64decode(reader.chrome.execute_cdp_cmd("Page.printToPDF", {})["data"])) > 10_000
    )
    reader.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert len(reader.seen("[role=tabpanel]")) == 7
    assert all(
        len(panel.find_elements(By.TAG_NAME, "h2")) > 1 for panel in reader.all("[role=tabpanel]")
    )
    assert reader.seen("#tabs, .tools") == []
    reader.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.slow
def test_a_hundred_variants_stay_smooth(reader: Reader, large: Store, tmp_path: Path) -> None:
    write(tmp_path / "page.html", _page(large, tasks=load_suites()["all"].tasks, suite="all"))
    reader.open((tmp_path / "page.html").as_uri())
    timed = """const done = arguments[1], element = document.querySelectorAll(arguments[0])[arguments[2]], start = performance.now();
        element.click(); requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));"""
    spent = {
        what: reader.chrome.execute_async_script(
            timed.replace("arguments[1]", "arguments[2]").replace(
                "[arguments[2]]", "[arguments[1]]"
            ),
            *where,
        )
        for what, where in {
            "unfold": ("button.unfold", 0),
            "sort": ("button.sort", 3),
            "again": ("button.sort", 0),
            "open": ("td.task", 0),
        }.items()
    }
    assert len(reader.texts("th.task")) == 24
    assert max(spent.values()) < 2000, spent  # some tens to 150 ms on a machine at rest
    assert reader.logs()[0] == []


def test_a_served_page_follows_and_keeps_what_was_chosen(
    reader: Reader, filler: Any, tmp_path: Path
) -> None:
    filler.store = Store(tmp_path / "harness.db")  # the server reads in threads of its own
    key = filler.cell("vpt", "digits")
    filler.results(key, [50.0])
    version = ["1"]
    with Server(lambda state: _page(filler.store, live=state), lambda: version[0], 0) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        try:
            reader.open(server.url)
            reader.wait(lambda: reader.texts("#live") == ["Live: follows the store."])
            reader.one("input[type=search]").send_keys("vpt")
            filler.results(filler.cell("vpt-deep", "digits"), [60.0])
            filler.results(filler.cell("linear", "digits"), [40.0])
            version[0] = "2"
            reader.wait(lambda: reader.texts(NAMES) == ["vpt-deep", "vpt"])
            assert reader.one("input[type=search]").get_attribute("value") == "vpt"
            console, asked = reader.logs()
            assert console == []
            assert all(address.startswith((server.url, "data:")) for address in asked)
        finally:
            server.shutdown()
            thread.join()
    reader.wait(lambda: reader.texts("#live") == ["No longer live: the server doesn't respond."])


def test_a_choice_of_tasks_and_methods_is_ranked_anew(reader: Reader, mini: str) -> None:
    """By hand: the means of two tasks, and ranks among three methods."""
    reader.open(mini)
    whole = reader.texts(f"{MEANS} span")
    section = reader.chrome.execute_script(
        "return JSON.parse(document.getElementById('about').textContent).sections[0]"
    )
    reader.click("details.menu summary", "Tasks")
    reader.click("details.menu button.tool", "None")
    assert reader.texts(".part .lead") == ["Choose a task."]
    places = [0, len(section["tasks"]) - 1]
    for t in places:
        reader.click("label.check", section["tasks"][t]["name"])
    reader.press(Keys.ESCAPE)
    reader.click("details.menu summary", "Methods")
    out = section["variants"][1]["method"]
    reader.click("label.check", out)
    kept = [row for row, said in enumerate(section["variants"]) if said["method"] != out]
    means = {
        section["variants"][row]["name"]: sum(section["cells"][row][t][0] for t in places) / 2
        for row in kept
    }
    wanted = sorted(means, key=lambda name: -means[name])
    assert [bare(name) for name in reader.texts(NAMES)] == wanted
    assert reader.texts(f"{MEANS} span") == [f"{means[name]:.2f}" for name in wanted]
    assert "Ranked anew" in reader.texts("p.notice")[0]
    assert len(reader.texts("th.task")) == 2
    ranks = [
        sum(
            1 + sum(section["cells"][o][t][0] > section["cells"][row][t][0] for o in kept)
            for t in places
        )
        / 2
        for name in wanted
        for row in kept
        if section["variants"][row]["name"] == name
    ]
    titles = "return [...document.querySelectorAll('.board thead tr:last-child th')].map(e => e.textContent)"
    column = reader.chrome.execute_script(titles).index("Rank") + 1
    assert reader.texts(f".board tbody td:nth-child({column})") == [f"{one:.2f}" for one in ranks]
    reader.wait(lambda: "tasks" in (url := reader.chrome.current_url) and "without" in url)
    reader.chrome.refresh()
    assert [bare(name) for name in reader.texts(NAMES)] == wanted
    reader.click("button.link", "Back to all")
    assert reader.texts(f"{MEANS} span") == whole
    assert reader.logs()[0] == []


def test_two_rows_side_by_side(reader: Reader, mini: str) -> None:
    reader.open(mini)
    reader.click("button.tool", "Compare two")
    dialog = reader.one("dialog[open]")
    names = [bare(name) for name in reader.texts(NAMES)[:2]]
    assert re.search(
        f"{re.escape(names[0])} is (better|worse) than {re.escape(names[1])} on ", dialog.text
    )
    assert len(reader.texts("dialog table")[0].splitlines()) >= 5
    command = next(text for text in reader.texts("dialog pre") if "compare" in text)
    assert command.startswith(f"harness compare {names[0]}")
    assert "base_lr" in dialog.text
    choose = "const s = document.querySelectorAll('dialog select')[1]; s.value = 3;"
    reader.chrome.execute_script(f"{choose} s.dispatchEvent(new Event('change'))")
    other = bare(reader.texts(NAMES)[3])
    said = reader.one("dialog[open]").text
    assert re.search(f"{re.escape(names[0])} is (better|worse) than {re.escape(other)} on ", said)
    assert reader.logs()[0] == []


SAVED = """const done = arguments[2];
const kept = URL.createObjectURL;
URL.createObjectURL = (blob) => {
    URL.createObjectURL = kept;
    if (blob.type !== "image/png") blob.text().then(done);
    else {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
    }
    return kept.call(URL, blob);
};
[...document.querySelectorAll(arguments[0])].find((button) => button.checkVisibility() && button.textContent === arguments[1]).click();"""
"""What a button saves, instead of where it goes."""


def test_files_are_those_of_the_command(reader: Reader, tmp_path: Path, filler: Any) -> None:
    filler.grid(["vpt", "linear", "=1+1"], {"natural": ["dtd", "svhn"]})
    contents = Contents(filler.store)
    write(tmp_path / "page.html", page(contents))
    reader.open((tmp_path / "page.html").as_uri())
    for title in ("CSV", "JSON", "LaTeX"):
        reader.click("#take summary")
        saved = reader.chrome.execute_async_script(SAVED, "#take button", title)
        assert saved == str(Report(filler.store).render(title.lower()))
    reader.click("#take summary")
    references = reader.chrome.execute_async_script(SAVED, "#take button", "BibTeX")
    assert "@misc{jia2022vpt," in references
    assert "% task dtd: Cimpoi" in references
    table = reader.chrome.execute_async_script(SAVED, "button.tool", "Table as CSV")
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0][:2] == ["Method", "Mean of 2"]
    assert sorted(row[0] for row in rows[1:]) == ["'=1+1", "linear", "vpt"]
    assert [row[1] for row in rows[1:]] == reader.texts(f"{MEANS} span")
    assert reader.logs()[0] == []


def test_a_chart_can_be_taken_along(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    reader.click("[role=tab]", "Trade-off")
    drawn = reader.chrome.execute_async_script(SAVED, ".take .tool", "SVG")
    root = ElementTree.fromstring(drawn)
    assert root.get("width") == "860"
    texts = [str(text.text) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "tuned parameters (logarithmic)" in texts
    assert "class=" not in drawn
    picture = reader.chrome.execute_async_script(SAVED, ".take .tool", "PNG")
    image = Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
    assert image.size == (3 * 860, 3 * 420)
    assert len(image.convert("RGB").getcolors(1 << 24) or []) > 10
    assert reader.logs()[0] == []


def test_values_are_shown_at_the_pointer_and_the_focus(reader: Reader, vtab: str) -> None:
    reader.open(vtab)
    reader.click("[role=tab]", "Trade-off")
    point = reader.all("#panel-tradeoff circle.point")[0]
    ActionChains(reader.chrome).move_to_element(point).perform()
    shown = reader.texts(".tip")
    assert len(shown) == 1
    assert shown[0] == point.get_attribute("data-tip")
    reader.tab_to(lambda element: element.tag_name == "circle")
    first = reader.texts(".tip")
    reader.press(Keys.ARROW_RIGHT)
    assert reader.texts(".tip") not in (first, [])
    reader.press(Keys.ESCAPE)
    assert reader.texts(".tip") == []
    assert reader.logs()[0] == []


def test_every_axis_has_ticks(reader: Reader, tmp_path: Path, filler: Any) -> None:
    """Where values are close to each other, too, as memory's are."""
    for place, variant in enumerate(("a", "b", "c", "d")):
        filler.results(
            filler.cell(variant, "digits"), [50.0 + place], memory=1_448_000_000 + 9_000_000 * place
        )
    write(tmp_path / "page.html", _page(filler.store))
    reader.open((tmp_path / "page.html").as_uri())
    reader.click("[role=tab]", "Trade-off")
    ticks = "return [...document.querySelectorAll('#panel-tradeoff text.tick')].filter(e => e.getAttribute('text-anchor') === 'middle').map(e => e.textContent)"
    reader.chrome.execute_script(
        "const s = document.querySelectorAll('#panel-tradeoff select')[1]; s.value = 'peak memory'; s.dispatchEvent(new Event('change'))"
    )
    found = [text for text in reader.chrome.execute_script(ticks) if text.endswith("GB")]
    assert len(found) == len(set(found)) >= 3


def test_the_search_of_a_cell_is_drawn(reader: Reader, tmp_path: Path, filler: Any) -> None:
    key = filler.cell("a", "digits")
    filler.results(key, [60.0])
    losses = {"epoch": [1, 2, 3], "loss": [2.0, 1.5, 1.0]}
    for number, (lr, decay, value) in enumerate(
        # of the two that are best on val, a search takes the smaller learning rate
        [(0.1, 0.01, 50.0), (2.0, 0.01, 55.0), (1.0, 0.01, 55.0), (3.0, 0.001, None)]
    ):
        state: Any = "pruned" if value is None else "complete"
        params = {"base_lr": lr, "weight_decay": decay}
        curve = {5: 40.0 + number, 10: value or 41.0}
        filler.store.add_trials(
            [Trial(key, number, params, state, value, curve, None, 1.0, 1.0, {}, losses)]
        )
    write(tmp_path / "page.html", _page(filler.store))
    reader.open((tmp_path / "page.html").as_uri())
    reader.click("td.task")
    assert (
        "4 trials: 3 complete, 1 pruned. Best on val: trial 2, 55.00"
        in reader.one("dialog[open]").text
    )
    labels = [svg.get_attribute("aria-label") or "" for svg in reader.all("dialog figure svg")]
    assert [label.split(":")[0] for label in labels] == [
        "Search history",
        "Top-1 accuracy on val in % by epoch",
        "training loss by epoch",
        "Hyper-parameters of each trial and its Top-1 accuracy on val in %",
    ]
    reader.click("dialog summary", "All trials")
    rows = [text.split() for text in reader.texts("dialog details tbody tr")]
    assert rows[3] == ["3", "\u2013", "pruned", "3", "0.001"]
    assert reader.logs()[0] == []


AXE = """const done = arguments[0];
axe.run(document, { resultTypes: ["violations"] }).then(({ violations }) =>
    done(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)}`)));"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(reader: Reader, mini: str, scheme: str) -> None:
    """In no tab and in neither panel, on a phone and on a screen."""
    axe = pytest.importorskip("axe_core_python")
    if scheme == "dark":
        reader.emulate(390, 844, scheme)
    reader.open(mini)
    script = Path(axe.__file__).parent / "axe.min.js"
    reader.chrome.execute_script(script.read_text(encoding="utf-8"))
    for tab in reversed(reader.all("[role=tab]")):
        reader.chrome.execute_script("arguments[0].click()", tab)
        assert reader.chrome.execute_async_script(AXE) == [], tab.text
    reader.click("td.task")
    assert reader.chrome.execute_async_script(AXE) == []
    reader.press(Keys.ESCAPE)
    reader.click("button.tool", "Compare two")
    assert reader.chrome.execute_async_script(AXE) == []


def test_targets_of_a_phone_are_large_enough(reader: Reader, vtab: str) -> None:
    """24 px, WCAG 2.2's 2.5.8; a link within a sentence aside."""
    reader.emulate(390, 844)
    reader.open(vtab)
    small = """return [...document.querySelectorAll("button, input, select, summary, label.check")]
        .filter((e) => e.checkVisibility() && !e.closest("p, label.check input, .vh")
            && !(e.tagName === "INPUT" && e.closest("label")))
        .filter((e) => { const { height, width } = e.getBoundingClientRect(); return height && (height < 23.5 || width < 23.5); })
        .map((e) => e.outerHTML.slice(0, 120));"""
    for tab in reader.all("[role=tab]"):
        reader.chrome.execute_script("arguments[0].click()", tab)
        assert reader.chrome.execute_script(small) == [], tab.get_attribute("id")


def test_a_phones_first_screen_has_scores(reader: Reader, vtab: str) -> None:
    reader.emulate(390, 844)
    reader.open(vtab)
    assert reader.all(".board tbody tr")[2].rect["y"] < 700
    assert "more" in words(reader.one(".board").find_element(By.XPATH, ".."))


def test_high_contrast_shows_which_tab_is_chosen(reader: Reader, vtab: str) -> None:
    reader.emulate(1280, 900)
    forced = [{"name": "forced-colors", "value": "active"}]
    reader.chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": forced})
    reader.open(vtab)
    widths = "return [...document.querySelectorAll('[role=tab]')].map((tab) => getComputedStyle(tab).borderBottomWidth)"
    assert reader.chrome.execute_script(widths) == ["3px", *["0px"] * 6]
    reader.click("[role=tab]", "Trade-off")
    look = "const s = getComputedStyle(document.querySelector(arguments[0])); return [s.fill, s.stroke]"
    assert len(set(reader.chrome.execute_script(look, "circle.on"))) == 1
    ink = reader.chrome.execute_script(look, ".chart text.name")[0]
    assert ink == reader.chrome.execute_script("return getComputedStyle(document.body).color")
