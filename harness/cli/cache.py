"""`harness cache`: what was computed once and is kept, which may be deleted at any time."""

import json
import shutil
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.command import Group, registering
from harness.cli.options import TextOrJson, check_format

app = typer.Typer(
    cls=Group,
    help="Show or clear what is kept between runs: decoded images, weights, answers.",
    no_args_is_help=True,
    add_completion=False,
)
command = registering(app, "cache")

HOLDS = {
    "images": "decoded images, by task and split",
    "weights": "weights that timm doesn't have",
    "unpacked": "archives that are read unpacked",
    "fingerprints": "sha256 of data that were read",
    "tfrecords": "where records begin",
    "scenes": "CLEVR's scenes, as arrays",
    "answers": "what listings and plans say, while no code changes",
}
"""What the folders of the cache are for."""


def parts(folder: Path) -> dict[str, tuple[int, int]]:
    """The folders of a cache, the largest first: their files, and what they take in bytes."""
    found = {}
    for part in folder.iterdir() if folder.is_dir() else ():
        files = [file for file in part.rglob("*") if file.is_file()] if part.is_dir() else [part]
        found[part.name] = len(files), sum(file.stat().st_size for file in files)
    return dict(sorted(found.items(), key=lambda one: -one[1][1]))


@command("show")
def show(format: TextOrJson = "text") -> None:
    """Show where the cache is and what is in it. VPT_HARNESS_CACHE moves it."""
    check_format(format, ("text", "json"))
    from rich.console import Console
    from rich.table import Table

    from harness.data.status import readable
    from harness.io.resources import cache_dir

    folder, free = cache_dir(), _free(cache_dir())
    found = parts(folder)
    if format == "json":
        sizes = {name: {"files": files, "bytes": size} for name, (files, size) in found.items()}
        print(json.dumps({"folder": str(folder), "parts": sizes, "free": free}, indent=2))
        return
    print(f"{folder}: {readable(sum(size for _, size in found.values())) or 'empty'}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("part", "files", "space", "what it is"):
        table.add_column(name, justify="right" if name in ("files", "space") else "left")
    for name, (files, size) in found.items():
        table.add_row(name, f"{files:,}", readable(size) or "0 B", HOLDS.get(name, ""))
    if found:
        Console().print(table)
    print(f"Free on its disk: {readable(free)}. timm's weights are in another cache: HF_HOME.")


@command("clear")
def clear(
    part: Annotated[
        list[str] | None,
        typer.Argument(metavar="PART", help="Such as images. Default: all parts."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete the cache, or parts of it: what is needed is made again. Not while a run is going
    on."""
    import sys

    from harness.data.status import readable
    from harness.errors import BadInput, unknown
    from harness.io.resources import cache_dir

    folder = cache_dir()
    found = {name: one for name, one in parts(folder).items() if name in HOLDS}
    for name in part or ():
        if name not in HOLDS:
            raise unknown("part of the cache", name, HOLDS)
    chosen = {name: one for name, one in found.items() if not part or name in part}
    size = readable(sum(size for _, size in chosen.values())) or "0 B"
    if not chosen:
        print(f"{folder} has nothing to clear.")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("clear asks before it deletes, but this isn't a terminal: give --yes.")
        if not typer.confirm(f"Delete {', '.join(chosen)} ({size}) in {folder}?"):
            print("Nothing was deleted.")
            raise typer.Exit(1)
    for name in chosen:
        shutil.rmtree(folder / name)
    print(f"Deleted {', '.join(chosen)}: {size}.")


def _free(folder: Path) -> int:
    """Bytes that are free where the folder is, or would be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
