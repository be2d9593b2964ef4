"""Takes the pictures of the page that the docs show, in a Chromium without a screen:
docs/page-light.png, page-dark.png, page-phone.png.

    python scripts/screenshot_page.py STORE [--suite vtab] [--folder docs] [--only segmentation]

STORE: a file or URL; `benchmarks/synthetic_store.py` makes one. With --only segmentation it takes
docs/segmentation.png, of a store of the suite mini-seg. Takes Debian's packages chromium and
chromium-driver, and selenium.
"""

import argparse
import io
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from harness.reporting.contents import Contents
from harness.reporting.formats.page.html import page, write
from harness.store import Store
from harness.tasks.cards import load_suites

UNFOLD = (
    "const group = document.querySelector('button.fold'); if (group?.ariaExpanded === 'false')"
    " group.click()"
)
OPEN = "document.querySelector('td.task:not([hidden])').click(); document.activeElement.blur()"


@dataclass(frozen=True)
class Picture:
    name: str
    width: int
    height: int
    scheme: str
    steps: tuple[str, ...]
    """Scripts to run before it is taken."""


PICTURES = (
    Picture("page-light", 1360, 620, "light", (UNFOLD,)),
    Picture("page-dark", 1360, 860, "dark", (UNFOLD, OPEN)),
    Picture("page-phone", 390, 844, "light", ()),
)
SEGMENTATION = Picture(
    "segmentation", 1000, 1060, "light", ("document.querySelector('.board').scrollIntoView()",)
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store")
    parser.add_argument("--suite")
    parser.add_argument("--folder", type=Path, default=Path("docs"))
    parser.add_argument("--only", choices=["segmentation"])
    asked = parser.parse_args()
    tasks = load_suites()[asked.suite].tasks if asked.suite else None
    text = page(Contents(Store(asked.store), tasks=tasks, suite=asked.suite))
    chrome = _chrome()
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            write(file, text)
            for picture in [SEGMENTATION] if asked.only else PICTURES:
                (asked.folder / f"{picture.name}.png").write_bytes(
                    _small(_taken(chrome, file, picture))
                )
    finally:
        chrome.quit()


def _chrome() -> Chrome:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        raise SystemExit(
            "needs chromium and chromedriver: apt-get install chromium chromium-driver"
        )
    options = ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(flag)
    return Chrome(options=options, service=Service(driver))


def _taken(chrome: Chrome, file: Path, picture: Picture) -> bytes:
    size: Mapping[str, Any] = {
        "width": picture.width,
        "height": picture.height,
        "deviceScaleFactor": 1,
        "mobile": picture.width < 600,
    }
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", dict(size))
    chrome.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": picture.scheme}]},
    )
    chrome.get("about:blank")
    chrome.get(file.as_uri())
    for step in picture.steps:
        chrome.execute_script(step)
    return chrome.get_screenshot_as_png()


def _small(png: bytes) -> bytes:
    """The picture in 256 colours, the rare ones among them: a third of the bytes."""
    made = io.BytesIO()
    few = (
        Image.open(io.BytesIO(png))
        .convert("RGB")
        .quantize(256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE)
    )
    few.save(made, "PNG", optimize=True)
    return made.getvalue()


if __name__ == "__main__":
    main()
