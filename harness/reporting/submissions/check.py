"""Whether a submission can be accepted: faults, each under the name of its rule, and notes for
whoever reviews it. Reads everything, trusts nothing in it, runs nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInput
from harness.reporting.submissions import folder as folders
from harness.reporting.submissions import known as beside
from harness.reporting.submissions import leaks, scores
from harness.reporting.submissions.fault import Finding, some_of
from harness.reporting.submissions.folder import Submission
from harness.reporting.submissions.known import Known
from harness.reporting.submissions.rounding import is_made_again
from harness.store.records import cell_key, result_id
from harness.store.transfer.exchange import StoreRows
from harness.store.transfer.validate import checked as well_formed
from harness.text import visible


@dataclass
class Checked:
    """The outcome for one folder."""

    name: str
    submission: Submission | None = None
    """None if it couldn't be read."""
    faults: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [
            *(f"{self.name}: fault: {fault}" for fault in self.faults),
            *(f"{self.name}: note: {note}" for note in self.notes),
        ]


def check_all(folder: Path, board: Path | None = None) -> list[Checked]:
    """Checks a submission, or all of a folder, the earliest first, each beside those before it and
    beside the submissions of `board`, such as those that were accepted before. Raises `BadInput`
    where there is none, or one of `board` has a fault."""
    known = Known()
    for one in folders.accepted(board) if board is not None and board.is_dir() else []:
        outcome = check(one, Known())
        if outcome.submission is None or outcome.faults:
            raise BadInput(f"{one} has faults itself: {outcome.lines[0]}.")
        known.add(outcome.submission)
    return _in_order(folders.within(folder), known)


def _in_order(paths: Sequence[Path], known: Known) -> list[Checked]:
    names = {one.name for one in known.submissions}
    outcomes = []
    for path in sorted(paths, key=_when):
        outcome = check(path, known)
        outcomes.append(outcome)
        if outcome.submission is not None and not outcome.faults and path.name not in names:
            known.add(outcome.submission)
    for outcome in outcomes:  # a record may be of rows that came later
        if outcome.submission is not None:
            _records(outcome, outcome.submission, known)
    return sorted(outcomes, key=lambda outcome: outcome.name)


def _when(path: Path) -> tuple[str, str]:
    try:
        return folders.about.read(path / folders.ABOUT).when, path.name
    except BadInput:
        return "", path.name


def check(folder: Path, known: Known) -> Checked:
    """Checks one folder, without its records of others' rows."""
    outcome = Checked(visible(folder.name))
    strange = list(some_of("file", folders.strangers(folder)))
    # a link has no size that could be told
    strange = strange or list(some_of("size", folders.oversize(folder)))
    if strange:
        return Checked(outcome.name, None, strange)
    try:
        submission = folders.read(folder)
    except BadInput as error:
        outcome.faults.append(Finding("schema", str(error)))
        return outcome
    outcome.faults += some_of("file", _unsealed(submission))
    outcome.faults += some_of("identity", _identities(submission.rows))
    if not any(fault.rule == "identity" for fault in outcome.faults):
        try:
            well_formed(submission.rows, folders.ROWS)
        except BadInput as error:
            outcome.faults.append(Finding("schema", str(error)))
        else:
            outcome.submission = submission
            _rows(outcome, submission, known)
    return outcome


def _rows(outcome: Checked, submission: Submission, known: Known) -> None:
    """What needs rows that are well formed."""
    others = (cell for cell in submission.rows.cells if scores.namesake(cell))
    outcome.faults += some_of(
        "identity",
        (
            f"task {cell.identity['task']['name']} isn't the one of that name: its card's digest"
            " is another"
            for cell in others
        ),
    )
    outcome.faults += some_of("score", scores.faults(submission))
    outcome.faults += some_of("leak", leaks.faults(submission))
    outcome.faults += some_of("logits", _logits(submission))
    outcome.faults += some_of("logits", beside.changed(submission, known))
    outcome.faults += some_of("copy", beside.copied(submission, known))
    outcome.notes += some_of("outlier", beside.notes(submission, known))
    outcome.notes += some_of("score", _unchecked(submission))


def _unsealed(submission: Submission) -> Iterator[str]:
    """Files that aren't those that `submission.toml` names."""
    named, found = submission.about.files, folders.files(submission.folder)
    for name in found:
        if name not in named:
            yield f"{name} isn't named in {folders.ABOUT}"
        elif folders.digest(submission.folder / name) != named[name]:
            yield f"{name} isn't the file that {folders.ABOUT} names: it was changed"
    yield from (f"{visible(name)} is missing" for name in named if name not in found)


def _identities(rows: StoreRows) -> Iterator[str]:
    """Keys and ids that don't follow from what they are of."""
    for cell in rows.cells:
        if cell_key(cell.identity) != cell.key:
            yield f"cell {visible(str(cell.key))}: its key isn't the digest of its identity"
    for row in rows.results:
        if row.id != result_id(row.cell, row.seed):
            yield (
                f"result {visible(str(row.id))}: its id doesn't follow from its cell"
                f" {visible(str(row.cell))[:12]} and seed {row.seed}"
            )


def _logits(submission: Submission) -> Iterator[str]:
    """Rows whose hash isn't the one that their checkpoint names."""
    for id, one in submission.checkpoints.items():
        row = submission.results.get(id)
        if row is None:
            yield f"{folders.CHECKPOINTS} names {id}, and there is no such result"
        elif row.logits_sha256 != one.logits_sha256:
            yield (
                f"{submission.label(row)}: its logits hash {row.logits_sha256[:12]} isn't the one"
                f" that its checkpoint names, {one.logits_sha256[:12]}"
            )


def _unchecked(submission: Submission) -> Iterator[str]:
    """What can't be told from the rows."""
    unknown = {
        str(cell.identity["task"]["name"])
        for cell in submission.rows.cells
        if scores.card_of(cell) is None
    }
    for name in sorted(unknown):
        yield f"{name} is no task of the harness: its scores' counts weren't checked"
    searched = [cell for cell in submission.rows.cells if cell.identity["protocol"].get("trials")]
    without = sum(not submission.trials.get(cell.key) for cell in searched)
    if without:
        which = f"{without:,} of {len(searched):,} searches"
        yield f"{which} aren't there: nothing shows what val chose"


def _records(outcome: Checked, submission: Submission, known: Known) -> None:
    """Records are of rows that the board has, unchanged, and of somebody else."""
    for record in submission.records:
        rows = known.results.get(record.id, [])
        sender = next((one for one, row in rows if record.is_of(row)), None)
        if not rows:
            note = f"{record.id} isn't on the board: the record waits for it"
            outcome.notes.append(Finding("record", note))
        elif sender is None:
            fault = f"{record.id} was made again, but from another score or logits hash"
            outcome.faults.append(Finding("record", f"{fault} than {rows[0][0].name} has"))
        elif not is_made_again(record, sender.cells[record.cell]):
            text = f"{record.id}: {record.score:.2f} on the board, {record.again_score:.2f} again"
            outcome.notes.append(Finding("record", f"not reproduced: {text}"))
        elif all(one.about.person & submission.about.person for one, _ in rows):
            note = f"{record.id} is a row of the same person, who can't vouch for it"
            outcome.notes.append(Finding("record", note))
