"""What can be imported: a store's file, an exported parquet, a folder of them, or the URL of a
database."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import BadInput
from harness.io import flags
from harness.store import Store
from harness.store.transfer import exchange
from harness.store.transfer.validate import checked


@dataclass(frozen=True)
class Source:
    """One store or exported file."""

    name: str
    file: Path | None
    """None for a database with a URL."""
    url: str = field(default="", repr=False)
    """Of that database, including its password, which `name` omits."""

    @property
    def checkpoints(self) -> Path | None:
        """The folder for its checkpoints: `NAME.checkpoints` next to `NAME.db` or
        `NAME.parquet`."""
        return self.file.absolute().with_suffix(".checkpoints") if self.file else None

    def rows(self) -> exchange.StoreRows:
        """All its rows, validated. Raises `BadInput`."""
        if self.file is not None and _is_parquet(self.file):
            return checked(exchange.read(self.file), self.name)
        store = Store(self.file or self.url, foreign=True)
        try:
            return checked(exchange.of_store(store), self.name)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(
                f"{self.name} is damaged ({' '.join(str(error).split())[:160]}): copy it again."
            ) from error
        finally:
            store.close()


def sources(text: str, into: Store) -> Iterator[Source]:
    """The sources that one argument names: a file, a folder's *.db and exported *.parquet, or an
    SQLAlchemy URL. Raises `BadInput`.

    `into`: the store to import into, which isn't a source; in a folder it is skipped.
    """
    if "://" in text:
        store = Store(text)
        if store.file is None:
            if store.name == into.name:
                raise BadInput(
                    f"{store.name} is itself the store to import into: give another --store."
                )
            yield Source(store.name, None, text)
            return
        path = store.file
    else:
        path = flags.path(text)
    if path.is_dir():
        files = [
            file
            for file in sorted(path.iterdir())
            if file.is_file() and file.suffix in (".db", ".parquet")
        ]
        files = [
            file
            for file in files
            if not _same(file, into) and (file.suffix == ".db" or _may_be_exported(file))
        ]
        if not files:
            raise BadInput(
                f"{path} contains neither a store (*.db) nor a file written by `harness results"
                " export FILE.parquet` (*.parquet)."
            )
        yield from (Source(str(file), file) for file in files)
    elif not path.is_file():
        raise BadInput(f"there is no file or folder {path}.")
    elif _same(path, into):
        raise BadInput(f"{path} is itself the store to import into: give another --store.")
    else:
        yield Source(str(path), path)


def _same(file: Path, store: Store) -> bool:
    return store.file is not None and store.file.exists() and file.samefile(store.file)


def _is_parquet(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(4) == b"PAR1" or file.suffix == ".parquet"
    except OSError as error:
        raise BadInput(f"can't read {file} ({error.strerror}).") from error


def _may_be_exported(file: Path) -> bool:
    """False for another program's parquet; an unreadable file counts as a source, so that its fault
    is reported."""
    try:
        return exchange.is_exported(file)
    except BadInput:
        return True
