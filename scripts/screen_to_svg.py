"""Turns a terminal's screen, with its colours, into an SVG: how docs/run.svg was recorded.

tmux capture-pane -ep -t SESSION | python scripts/screen_to_svg.py docs/run.svg --title "harness
run"
"""

import argparse
import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--title", default="harness run")
    parser.add_argument("--width", type=int, default=100)
    arguments = parser.parse_args()
    console = Console(record=True, width=arguments.width, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(sys.stdin.read().rstrip()))
    # a picture fetches nothing
    svg = re.sub(
        r"@font-face \{.*?\}", "", console.export_svg(title=arguments.title), flags=re.DOTALL
    )
    arguments.output.write_text(svg)


if __name__ == "__main__":
    main()
