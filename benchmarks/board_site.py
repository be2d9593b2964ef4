"""How fast the site of a board is: two people's made-up rows, 100 variants x the 24 tasks x 5
seeds, are sent, checked and built, and each kind of page is opened in a Chromium without a screen.

    python benchmarks/board_site.py FOLDER [--variants 100] [--seeds 5] [--no-browser]

Prints the seconds of each step, the pages' sizes, and the time to first contentful paint, the
median of five loads, from files. Takes Debian's packages chromium and chromium-driver, and
selenium.
"""

import argparse
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import synthetic_store

from harness.reporting.submissions.check import check_all
from harness.reporting.submissions.make import make
from harness.reporting.submissions.pages import build
from harness.store import Cell, Store, cell_key, result_id
from harness.store.records import chosen
from harness.tasks.cards import load_cards

LOADS = 5
PAINT = (
    "const paint = performance.getEntriesByName('first-contentful-paint')[0];"
    " return paint ? paint.startTime : -1"
)


def sound(store: Store, into: Store, variants: set[str]) -> None:
    """Copies rows of these variants, with scores that are counts of the tasks' images, points that
    val chose among those, and the tasks' true cards."""
    cards, cells = load_cards(), dict[str, Cell]()
    for old in store.cells().values():
        if old.labels["variant"] in variants:
            card = cards[old.identity["task"]["name"]]
            task = {**old.identity["task"], "card": card.digest()}
            identity = {**old.identity, "task": task}
            cells[old.key] = replace(old, key=cell_key(identity), identity=identity)

    def counted(score: float, cell: Cell, split: Any) -> float:
        of = cards[cell.identity["task"]["name"]].sizes[split]
        return 100 * round(score * of / 100) / of

    trials = []
    for row in store.trials():
        if (cell := cells.get(row.cell)) is not None:
            value = None if row.value is None else counted(row.value, cell, "val")
            curve = {epoch: counted(on_val, cell, "val") for epoch, on_val in row.curve.items()}
            trials.append(replace(row, cell=cell.key, value=value, curve=curve))
    points = dict[str, Mapping[str, Any]]()
    for key, of in groupby(sorted(trials, key=lambda one: one.cell), key=lambda one: one.cell):
        if (best := chosen(of)) is not None:
            points[key] = best.params
    results = []
    for row in store.results():
        if (cell := cells.get(row.cell)) is not None:
            score = counted(row.score, cell, "test")
            id, last = result_id(cell.key, row.seed), max(row.curve)
            curve = {**row.curve, last: score}
            made = {"params": points.get(cell.key, row.params), "score": score, "curve": curve}
            results.append(replace(row, cell=cell.key, id=id, **made))
    into.add(list(cells.values()), trials, results)


def submissions(folder: Path, variants: int, seeds: int) -> Iterator[tuple[str, float]]:
    """Makes both people's; yields what took how many seconds."""
    everything = Store(folder / "all.db")
    synthetic_store.fill(everything, wanted=variants, seeds=seeds)
    names = list(dict.fromkeys(cell.labels["variant"] for cell in everything.cells().values()))
    for person, of in (("ada", set(names[::2])), ("ben", set(names[1::2]))):
        store = Store(folder / f"{person}.db")
        sound(everything, store, of)
        started = time.perf_counter()
        make(store, folder / "submissions" / person, who=person, contact=f"{person}@example.org")
        yield f"harness submit, {person}", time.perf_counter() - started


def paints(public: Path) -> dict[str, float]:
    """Milliseconds to first contentful paint, of the largest page of each kind."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--window-size=1360,900"):
        options.add_argument(flag)
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    found = {}
    try:
        for page in largest(public):
            times = []
            for _ in range(LOADS):
                driver.get(page.resolve().as_uri())
                while (paint := driver.execute_script(PAINT)) < 0:
                    time.sleep(0.02)
                times.append(paint)
            found[page.relative_to(public).as_posix()] = statistics.median(times)
    finally:
        driver.quit()
    return found


def largest(public: Path) -> list[Path]:
    """Of each kind of page."""
    kinds = [public.glob("*.html"), *(folder.glob("*.html") for folder in public.iterdir())]
    listed = [sorted(pages, key=lambda page: page.stat().st_size) for pages in kinds]
    return [pages[-1] for pages in listed if pages]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--no-browser", action="store_true")
    asked = parser.parse_args()
    (asked.folder / "submissions").mkdir(parents=True)
    for what, seconds in submissions(asked.folder, asked.variants, asked.seeds):
        print(f"{what}: {seconds:.1f} s")
    started = time.perf_counter()
    outcomes = check_all(asked.folder / "submissions")
    print(f"check: {time.perf_counter() - started:.1f} s")
    for line in (line for outcome in outcomes for line in outcome.lines):
        print(line)
    started, public = time.perf_counter(), asked.folder / "public"
    built = build(outcomes, public)
    seconds = time.perf_counter() - started
    print(f"site: {seconds:.1f} s, {built.pages} pages, {built.bytes / 1e6:.1f} MB")
    if not asked.no_browser:
        for name, paint in paints(public).items():
            size = (public / name).stat().st_size
            print(f"{name}: {size / 1e3:.0f} kB, first paint {paint:.0f} ms")


if __name__ == "__main__":
    main()
