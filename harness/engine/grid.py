"""The live view's grid, methods x tasks: only what has changed since the last frame is made
anew."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

if TYPE_CHECKING:
    from harness.engine.cell import CellState


class Grid:
    """Lines of text for a terminal of some width: the longer of the two lists is down the side if a
    row of all tasks is too wide."""

    def __init__(
        self,
        cells: "Sequence[CellState]",
        methods: Sequence[str],
        tasks: Sequence[str],
        width: int,
    ):
        self.cells, self.width = cells, width
        needed = max(map(cell_len, methods)) + sum(max(cell_len(task), 8) + 1 for task in tasks)
        self.turned = needed > width
        self.rows, self.columns = (tasks, methods) if self.turned else (methods, tasks)
        at_row = {name: number for number, name in enumerate(self.rows)}
        at_column = {name: number for number, name in enumerate(self.columns)}
        self._places: list[tuple[int, int]] = []
        for cell in cells:
            label, task = cell.planned.variant.label, cell.planned.card.name
            row, column = (task, label) if self.turned else (label, task)
            self._places.append((at_row[row], at_column[column]))
        self._seen = [-1] * len(cells)
        self._texts: list[list[Text]] = [[Text()] * len(self.columns) for _ in self.rows]
        corner = "task" if self.turned else "method"
        self._corner = Text(corner, style="bold")
        self._side = max(map(cell_len, (corner, *self.rows)))
        self._widths = [cell_len(name) for name in self.columns]
        self._lines: dict[int, Text] = {}

    def lines(self, most: int) -> list[Text]:
        """The header and the first rows, `most` of them."""
        self._look()
        shown = range(min(len(self.rows), most))
        for row in shown:
            if row not in self._lines:
                self._lines[row] = self._line(Text(self.rows[row]), self._texts[row])
        header = self._line(self._corner, [Text(name, style="bold") for name in self.columns])
        return [header, *(self._lines[row] for row in shown)]

    def _look(self) -> None:
        """Makes the texts of cells that have changed, and forgets the lines that they are in."""
        for number, cell in enumerate(self.cells):
            if (changes := cell.changes) == self._seen[number]:
                continue
            self._seen[number] = changes
            row, column = self._places[number]
            text = self._texts[row][column] = cell_text(cell)
            self._lines.pop(row, None)
            if text.cell_len > self._widths[column]:  # it stays that wide: nothing jumps
                self._widths[column] = text.cell_len
                self._lines.clear()

    def _line(self, name: Text, texts: Sequence[Text]) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis").append_text(name)
        line.append(" " * (self._side - name.cell_len))
        for text, width in zip(texts, self._widths, strict=True):
            line.append(" " * (2 + width - text.cell_len)).append_text(text)
        return line


def cell_text(cell: "CellState") -> Text:
    """One cell of the grid: nothing yet, trials done, or the mean of the finished seeds."""
    if cell.failures:
        return Text("failed", style="red")
    scores = list(cell.scores.values())  # a copy: the view's thread reads while the run continues
    if scores:
        mean = sum(scores) / len(scores)
        rest = len(cell.missing_seeds)
        return Text(f"{mean:.1f}", style="bold green") + (
            Text(f" +{rest}", style="dim") if rest else Text("")
        )
    if cell.running:
        return Text("final", style="cyan")
    if cell.done_trials or cell.open:
        return Text(f"{cell.done_trials}/{cell.planned.trials}", style="cyan")
    return Text("·", style="dim")
