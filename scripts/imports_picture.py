"""Draws docs/imports.svg: the rooms of the code and which of them import which, as the code has it
now. `python scripts/imports_picture.py`; a test holds the picture to the code.

The rooms stand on a staircase in the order of the layers in pyproject.toml. An import goes from its
room to the right, and down to the room that it names: one against the order would go to the left
and up, and is red.
"""

import tomllib
from collections import defaultdict
from html import escape
from pathlib import Path

import grimp

REPOSITORY = Path(__file__).parent.parent
PICTURE = REPOSITORY / "docs" / "imports.svg"

DOOR = "harness"
"""The public names (`harness/__init__.py`, `api/` and `testing.py`): no room, but all that a
method imports."""
PUBLIC = ("api", "testing")

EVERYWHERE = ("harness.errors", "harness.text", "harness.__main__")
"""Not drawn: what any room imports, and what imports nothing but the commands."""

WIDTH, HEIGHT, DX, DY, MARGIN = 88, 26, 88, 38, 16

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1f24; text-anchor: middle; }
text.note { font-size: 12px; fill: #57606a; text-anchor: start; }
rect.room { fill: #ddeaf7; stroke: #5b7fa6; }
rect.door { fill: #f6e7c8; stroke: #a6843b; }
path { fill: none; stroke: #7b8794; stroke-width: 1.2; }
path.against { stroke: #c62828; stroke-width: 2; }
circle { fill: #7b8794; }
"""


def order() -> list[str]:
    """All rooms, importers first."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["id"] == "rooms")["layers"]
    names = [f"harness.{name.strip()}" for layer in layers for name in layer.split("|")]
    rooms = [
        name for name in names if name not in (*EVERYWHERE, *(f"{DOOR}.{own}" for own in PUBLIC))
    ]
    return ["methods", rooms[0], DOOR, *rooms[1:]]


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports, lazily or for types too."""
    graph = grimp.build_graph("harness", "methods", cache_dir=None)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            here, there = room(module), room(other)
            if here != there and not {here, there} & set(EVERYWHERE):
                found[here].add(there)
    return found


def room(module: str) -> str:
    top, *rest = module.split(".")
    if top != "harness" or not rest or rest[0] in PUBLIC:
        return top
    return f"harness.{rest[0]}"


def drawn() -> str:
    """The picture."""
    rooms, imports = order(), arrows()
    at = {name: (MARGIN + i * DX, MARGIN + i * DY) for i, name in enumerate(rooms)}
    width = 2 * MARGIN + (len(rooms) - 1) * DX + WIDTH
    height = 2 * MARGIN + (len(rooms) - 1) * DY + HEIGHT
    lines = [
        _arrow(rooms.index(name), rooms.index(other))
        for name in rooms
        for other in sorted(imports.get(name, ()), key=rooms.index)
    ]
    boxes = []
    for name, (x, y) in at.items():
        kind = "door" if name == DOOR else "room"
        label = "harness: api" if name == DOOR else name.removeprefix("harness.")
        boxes.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
            f'<text x="{x + WIDTH / 2:g}" y="{y + 18}">{escape(label)}</text>'
        )
    notes = (
        "An arrow leaves a room to the right, turns down at its dot,",
        "and ends on a room that the first one imports.",
        "errors and text, which every room may import, are left out.",
    )
    top = height - MARGIN - 18 * len(notes)
    legend = [
        f'<text class="note" x="{MARGIN}" y="{top + 18 * i}">{note}</text>'
        for i, note in enumerate(notes)
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}">',
            "<title>Which rooms import which</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7"'
            ' markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#7b8794"'
            ' stroke="none"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *lines,
            *boxes,
            *legend,
            "</svg>\n",
        )
    )


def _arrow(i: int, j: int) -> str:
    """From the `i`-th room to the `j`-th, down a column of its own. A dot is where it turns: others
    cross there."""
    down = j > i
    x0 = MARGIN + i * DX + (WIDTH if down else 0)
    y0 = MARGIN + i * DY + HEIGHT / 2
    x1 = MARGIN + j * DX + WIDTH * ((i + 1) / (j + 1) if down else 0.5)
    y1 = MARGIN + j * DY + (0 if down else HEIGHT)
    kind = "down" if down else "against"
    return (
        f'<path class="{kind}" d="M{x0},{y0:g} H{x1:.0f} V{y1}" marker-end="url(#tip)"/>'
        f'<circle cx="{x1:.0f}" cy="{y0:g}" r="2.2"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(drawn())
