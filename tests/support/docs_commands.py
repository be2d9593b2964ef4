"""The commands that README and the docs show."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted({ROOT / "README.md", *DOCS.glob("*.md"), *ROOT.glob("*/README.md")})
UNPARSED = {
    "harness export --merged": "a sentence about the flag; the command needs an id and a file",
    "harness results export --checkpoints": "the same",
}
"""Commands of the docs that the parser can't take as they stand, and why."""


def shown_commands() -> list[tuple[str, str]]:
    """Each line of a code block that begins with `harness`, without its comment, and each `harness
    ...` in a sentence that has a flag; with its page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = re.findall(
            r"^ *```(?:sh|bash|text)?\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE
        )
        lines = [line.strip() for block in blocks for line in block.splitlines()]
        prose = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)
        lines += [" ".join(one.split()) for one in re.findall(r"`(harness [^`]*? --[^`]*)`", prose)]
        for line in lines:
            if line.startswith("harness ") and not re.search(r"`|COMMAND", line):
                words = re.split(r" [|>&] ?| \.\.\.$", line.replace(" ... ", " "))[0].strip()
                found.append((page.name, re.sub(r"\s+#.*", "", words)))
    return found
