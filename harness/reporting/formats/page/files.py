"""The files that the page's reader can take along: what `harness report` writes in other formats,
compressed."""

import base64
import gzip

from harness.reporting import formats
from harness.reporting.citations import bibtex
from harness.reporting.contents import Contents
from harness.reporting.formats.json import document
from harness.reporting.formats.page.tests import ALL_PAIRS

FORMATS = ("csv", "latex")


def files(contents: Contents) -> dict[str, str]:
    """By format: a gzipped file in base64; and `bibtex`, the references."""
    texts = {name: str(formats.load(name).render(contents)) for name in FORMATS}
    texts["json"] = _json(contents)
    texts["bibtex"] = bibtex(contents.sections)
    return {name: _packed(text) for name, text in texts.items()}


def _json(contents: Contents) -> str:
    """Of many variants the tests of pairs are those of the page, against one: all of them take
    longer than the page."""
    baseline, published = contents.checked_layout.baseline, contents.published_numbers or ()
    return document(contents.sections, baseline, published, most=ALL_PAIRS)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(errors="replace"), mtime=0)).decode()
