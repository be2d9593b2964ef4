"""The page in a second browser: Firefox without a screen, driven by WebDriver BiDi, which it speaks
itself.

Takes Debian's package firefox-esr. Where it is absent these tests are skipped; with
VPT_HARNESS_REQUIRE_BROWSER=1 they fail.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic_store

from harness.reporting.contents import Contents
from harness.reporting.formats.page.html import page, write
from harness.store import Store

BINARY = shutil.which("firefox-esr") or shutil.which("firefox")
REQUIRED = os.environ.get("VPT_HARNESS_REQUIRE_BROWSER") == "1"
if not REQUIRED:
    pytest.importorskip("selenium")  # which brings websocket

pytestmark = [
    pytest.mark.skipif(
        BINARY is None and not REQUIRED, reason="no Firefox: apt-get install firefox-esr"
    ),
    pytest.mark.timeout(300),
]


class Firefox:
    """A browser with one tab."""

    def __init__(self, address: str):
        import websocket

        self._socket = websocket.create_connection(
            f"{address}/session", timeout=60, suppress_origin=True
        )
        self._numbers, self._visits = itertools.count(), itertools.count()
        self.said: list[str] = []
        self._do("session.new", capabilities={})
        self._do("session.subscribe", events=["log.entryAdded"])
        (context,) = self._do("browsingContext.getTree")["contexts"]
        self._tab = context["context"]

    def open(self, address: str) -> None:
        """Until its table is there; without what an earlier visit left in its address.

        Each visit has an address of its own, so that the page is loaded anew. Not by way of
        about:blank: from there to a file Firefox changes processes, and loses one navigation in ten
        on a busy machine, without a word or an answer.
        """
        url = f"{address}?visit={next(self._visits)}"
        self._do("browsingContext.navigate", context=self._tab, url=url, wait="complete")
        for _ in range(200):
            if self("document.querySelector('.board tbody tr') !== null"):
                return
            time.sleep(0.05)
        raise AssertionError(f"{address} has no table")

    def __call__(self, expression: str) -> Any:
        """The value of an expression in the page, as JSON has it."""
        done = self._do(
            "script.evaluate",
            expression=f"Promise.resolve({expression}).then(JSON.stringify)",
            target={"context": self._tab},
            awaitPromise=True,
        )
        assert done["type"] == "success", done.get("exceptionDetails", {}).get("text")
        return json.loads(done["result"].get("value", "null"))

    def press(self, *keys: str) -> None:
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._do("input.performActions", context=self._tab, actions=[source])

    def size(self, width: int, height: int) -> None:
        self._do(
            "browsingContext.setViewport",
            context=self._tab,
            viewport={"width": width, "height": height},
        )

    def close(self) -> None:
        self._socket.close()

    def _do(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("method") == "log.entryAdded":
                self.said.append(str(answer["params"]["text"]))
            if answer.get("id") == number:
                assert answer["type"] == "success", answer
                return answer["result"]


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    assert BINARY, "Firefox is absent, and VPT_HARNESS_REQUIRE_BROWSER=1"
    profile = tmp_path_factory.mktemp("profile")
    flags = ["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"]
    process = subprocess.Popen(
        [BINARY, *flags, str(profile)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "HOME": str(profile), "MOZ_HEADLESS": "1"},
    )
    assert process.stderr is not None
    try:
        found = (re.search(r"listening on (ws://\S+)", line) for line in process.stderr)
        browser = Firefox(next(match[1] for match in found if match))
        yield browser
        browser.close()
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> str:
    store = Store("sqlite://")
    synthetic_store.fill(store, wanted=4, suite="mini", seeds=3)
    path: Path = tmp_path_factory.mktemp("page") / "page.html"
    write(path, page(Contents(store)))
    return path.as_uri()


def test_all_tabs_open_and_nothing_goes_wrong(firefox: Firefox, mini: str) -> None:
    firefox.size(1280, 900)
    firefox.open(mini)
    firefox.said.clear()
    shown = firefox(
        "[...document.querySelectorAll('[role=tab]')].map((tab) => (tab.click(),"
        " document.querySelector('[role=tabpanel]:not([hidden]) h2:not(.printed)').innerText))"
    )
    assert shown == ["mini · mini_vit · protocol mini"] * 7
    assert firefox.said == []


def test_the_table_sorts_and_its_cells_open_by_keyboard(firefox: Firefox, mini: str) -> None:
    firefox.open(mini)
    firefox("document.querySelector('a.skip').click()")
    assert firefox("document.activeElement.tagName") == "TD"
    down, end, enter, escape = "\ue015", "\ue010", "\ue007", "\ue00c"
    firefox.press(down, end, enter)
    assert " on " in firefox("document.querySelector('dialog[open] h2').innerText")
    assert firefox("document.querySelectorAll('dialog[open] table.seeds tbody tr').length") == 3
    firefox.press(escape)
    assert firefox("document.querySelectorAll('dialog[open]').length") == 0
    means = (
        "[...document.querySelectorAll('.board tbody td:nth-child(2)')].map((td) => +td.innerText)"
    )
    first = firefox(means)
    assert first == sorted(first, reverse=True)
    firefox("document.querySelectorAll('button.sort')[1].click()")
    assert firefox(means) == sorted(first)


def test_a_choice_is_ranked_anew_and_files_unpack(firefox: Firefox, mini: str) -> None:
    firefox.open(mini)
    firefox("document.querySelectorAll('details.choose input')[0].click()")
    assert firefox("document.querySelectorAll('.board tbody tr').length") < 4
    assert "Ranked anew" in firefox("document.querySelector('p.notice').innerText")
    text = firefox(
        "new Promise((done) => { const kept = URL.createObjectURL; URL.createObjectURL = (blob) =>"
        " (blob.text().then(done), URL.createObjectURL = kept, 'data:,');"
        " document.querySelectorAll('#take button')[0].click(); })"
    )
    assert text.startswith("origin,method,version")
    assert firefox.said == []


def test_a_phone_sees_scores_first_and_nothing_wider(firefox: Firefox, mini: str) -> None:
    firefox.size(390, 844)
    firefox.open(mini)
    top = firefox("document.querySelector('.board tbody tr').getBoundingClientRect().bottom")
    assert top < 700
    # a scroll bar, where there is one, has its share of the 390
    assert firefox("document.documentElement.scrollWidth <= innerWidth")
    assert firefox("innerWidth") == 390
