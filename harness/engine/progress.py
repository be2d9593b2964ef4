"""Shows a run's progress: a live grid in a terminal, plain lines elsewhere."""

import pdb
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from harness.engine.grid import Grid
from harness.engine.notebook import InNotebook

if TYPE_CHECKING:
    from harness.engine.cell import CellState
    from harness.engine.scheduler import Scheduler
    from harness.planning.plan import RunPlan

GAP, SILENCE = 4.0, 60.0
"""Seconds after a plain line until the next: one that says something new, and one that only shows
that the run is alive."""

LOOK = 0.5
"""Seconds between checks of that."""

FRAMES = 1.0
"""Of the live view, a second."""


class ProgressView:
    """Shows stages, then the scheduler's progress. Use it as a context manager around the whole
    command."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic):
        """`clock`: seconds, such as `time.monotonic`."""
        self.console = console
        self.clock = clock
        self.scheduler: Scheduler | None = None
        self.plan: RunPlan | None = None
        self.workers = 0
        self.text = "reading the plan"
        self.started = self.clock()
        self.running_since: float | None = None
        self.left_at_start = 0.0
        self._left_at = self.started, 0.0
        """When the work that remains was last seen to change, and what it was."""
        self.last_line_at = self.started
        self._said = ""
        self._grid: Grid | None = None
        self.announced: set[tuple[str, int]] = set()
        self.printed: set[str] = set()
        self.decoded: Counter[str] = Counter()
        """Splits that weren't in the cache, by node."""
        self.fetched: Counter[tuple[str, str]] = Counter()
        """How often a backbone was copied to a node, by node and name."""
        self._end = threading.Event()
        self._hook: Callable[..., Any] | None = None
        self._live: Live | InNotebook | None = None
        if console.quiet:
            pass
        elif console.is_jupyter:
            self._live = InNotebook(self._render)
        elif console.is_terminal:
            self._live = Live(
                get_renderable=self._render,
                console=console,
                refresh_per_second=FRAMES,
                transient=True,
            )
        self._thread = threading.Thread(target=self._heartbeat, daemon=True)

    def __enter__(self) -> "ProgressView":
        if self._live:
            self._live.start()
        else:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        if self._hook is not None:
            sys.breakpointhook = self._hook

    def close(self) -> None:
        """Ends the live view; only lines are printed from now on."""
        self._end.set()
        if self._live:
            self._live.stop()

    def pause_at_breakpoints(self) -> None:
        """Until this view is exited, `breakpoint()` in this process closes it first: it would
        overwrite the debugger."""
        self._hook = sys.breakpointhook
        if self._hook is not sys.__breakpointhook__:
            return  # a notebook's, or a debugger's own

        def stop(*_: Any, **__: Any) -> None:
            self.close()
            pdb.Pdb().set_trace(sys._getframe(1))

        sys.breakpointhook = stop

    def show_workers(self, workers: int) -> None:
        """How many jobs can run at once."""
        self.workers = workers

    def warmed(self, node: str, decoded: Sequence[str], fetched: Sequence[str]) -> None:
        """What a worker had to decode or fetch on its node."""
        self.decoded[node] += len(decoded)
        self.fetched.update((node, name) for name in fetched)

    def warm_ups(self) -> list[str]:
        """One line per node that had to be warmed up."""
        lines = []
        for node in sorted({*(+self.decoded), *(node for node, _ in self.fetched)}):
            splits = self.decoded[node]
            parts = [f"{splits} split{'s' * (splits > 1)} decoded"] if splits else []
            parts += [
                f"{name} fetched {times} x"
                for (place, name), times in sorted(self.fetched.items())
                if place == node
            ]
            lines.append(f"Warmed up {node}: {', '.join(parts)}.")
        return lines

    def print_line(self, text: str, once: bool = False) -> None:
        """Prints a line, on a terminal too."""
        if not once or text not in self.printed:
            self.printed.add(text)
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stage(self, text: str) -> None:
        """Shows what is happening before the first result."""
        self.text = self._said = text
        self._say(f"{text} ...")

    def show(self, scheduler: "Scheduler", plan: "RunPlan") -> None:
        self._grid, self.scheduler, self.plan = None, scheduler, plan
        self.running_since = self.clock()
        self.left_at_start = scheduler.order.left
        for cell in scheduler.cells:
            self.announced |= {(cell.planned.key, seed) for seed in cell.scores}

    def update(self, cell: "CellState") -> None:
        """Called when part of a cell has finished: prints a line for every new final score."""
        self.text = "running"
        if self._live or self.scheduler is None:
            return
        for seed, score in list(cell.scores.items()):
            if (cell.planned.key, seed) not in self.announced:
                self.announced.add((cell.planned.key, seed))
                label, task = cell.planned.variant.label, cell.planned.card.name
                self._said = f"{self.text} {self._state()}"
                self._say(f"{label} on {task}, seed {seed}: {score:.1f}  ({self._progress()})")

    def _heartbeat(self) -> None:
        while not self._end.wait(LOOK):
            self.break_silence()

    def break_silence(self) -> None:
        """Prints the progress if it has changed since `GAP`, or nothing was printed for
        `SILENCE`."""
        quiet = self.clock() - self.last_line_at
        if quiet <= GAP:
            return
        state = f"{self.text} {self._state()}" if self.scheduler else self.text
        if quiet > SILENCE or state != self._said:
            self._said = state
            self._say(
                f"{self.text} ... {self._progress()}"
                if self.scheduler
                else f"{self.text} ... {self.clock() - self.started:.0f} s"
            )

    def _say(self, line: str) -> None:
        self.last_line_at = self.clock()
        if not self._live:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _progress(self) -> str:
        return f"{self._state()}{self._left()}"

    def _state(self) -> str:
        """What has happened; equal as long as nothing does."""
        assert self.scheduler is not None
        ended, workers = self.scheduler.ended, self.workers
        counts = ", ".join(
            f"{ended[state]} {state}"
            for state in ("complete", "pruned", "failed")
            if ended[state] or state != "failed"
        )
        busy = (
            f"{min(len(self.scheduler.in_flight), workers)}/{workers} workers busy"
            if workers
            else "no worker yet"
        )
        if elsewhere := len(self.scheduler.elsewhere):
            busy += f", {elsewhere} cell{'s' * (elsewhere > 1)} with other drivers"
        missed = self.decoded.total()
        cold = f", {missed} split{'s' * (missed > 1)} decoded" if missed else ""
        return f"{ended['results']}/{self.scheduler.wanted} results, trials {counts}, {busy}{cold}"

    def _left(self) -> str:
        """Time remaining, by the work expected at the start; empty until a fiftieth of it is
        done."""
        assert self.scheduler is not None
        left = self.scheduler.order.left
        if left != self._left_at[1]:
            self._left_at = self.clock(), left
        done = self.left_at_start - left
        if self.running_since is None or done <= self.left_at_start / 50:
            return ""
        work = self.scheduler.order.seconds_of_work
        if self.scheduler.elsewhere or work is None or not self.workers:  # others help, or did
            seconds = (self.clock() - self.running_since) / done * left
        else:  # as of the last job's end
            seconds = max(0.0, work / self.workers - (self.clock() - self._left_at[0]))
        return (
            f", about {seconds / 60:.0f} min left"
            if seconds > 90
            else f", about {seconds:.0f} s left"
        )

    def _render(self):
        if self.scheduler is None or self.plan is None:
            return Spinner("dots", text=f"{self.text} ... {self.clock() - self.started:.0f} s")
        if self._grid is None or self._grid.width != self.console.width:
            cells, variants, tasks = self.scheduler.cells, self.plan.variants, self.plan.tasks
            self._grid = Grid(cells, variants, tasks, self.console.width)
        minutes, seconds = divmod(int(self.clock() - self.started), 60)
        running = f"{self.text} ... " if not self.scheduler.in_flight else ""
        return Group(
            *self._grid.lines(self.console.height),
            Text(""),
            Spinner("dots", text=f"{running}{self._progress()}, {minutes}:{seconds:02} elapsed"),
        )
