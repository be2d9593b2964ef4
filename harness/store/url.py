"""Where a store is: from the user's text to a URL, and to a name for messages, without secrets."""

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, SAWarning

from harness.errors import BadInput
from harness.io import flags
from harness.text import plain

_SHOWN = {
    "host",
    "port",
    "dbname",
    "service",
    "sslmode",
    "options",
    "application_name",
    "connect_timeout",
    "target_session_attrs",
}
"""Parts of a URL's query that aren't secret; libpq accepts `password` and `sslpassword` there
too."""


@dataclass(frozen=True)
class Address:
    """A database: a SQLite file or any SQLAlchemy URL."""

    url: sa.URL
    file: Path | None
    """The SQLite file; None for another database, or one in memory."""

    @property
    def backend(self) -> str:
        """`sqlite`, `postgresql`, ..."""
        return self.url.get_backend_name()

    @property
    def name(self) -> str:
        """Its name in messages: its file, or its URL without secrets."""
        if self.file is not None:
            return str(self.file)
        shown = {key: value if key in _SHOWN else "***" for key, value in self.url.query.items()}
        return (
            self.url.set(query=shown)
            .render_as_string(hide_password=True)
            .replace("%2A%2A%2A", "***")
        )

    @property
    def argument(self) -> str:
        """As `--store` takes it: the file, or the URL without secrets."""
        if self.file is not None:
            return str(self.file)
        shown = {key: value for key, value in self.url.query.items() if key in _SHOWN}
        return (
            self.url.set(query=shown)._replace(password=None).render_as_string(hide_password=False)
        )

    def line(self, error: BaseException) -> str:
        """The message of the database, its driver or the file system, in one line, without the
        password."""
        message = " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())
        return message.replace(str(self.url.password), "***") if self.url.password else message


def address(text: str) -> Address:
    """Reads a plain path, which means a SQLite file, or a URL. Raises `BadInput`."""
    try:
        if text == "":
            # which SQLite would take for a temporary database
            raise ArgumentError("an empty URL")
        url = sa.make_url(text) if "://" in text else sa.URL.create("sqlite", database=text)
        if url.drivername.startswith("sqlite") and (url.database or "").startswith("~"):
            url = url.set(database=str(flags.path(str(url.database))))
        if url.drivername in ("postgres", "postgresql"):
            # the tested driver, whichever SQLAlchemy would choose
            url = url.set(drivername="postgresql+psycopg")
        backend = url.get_backend_name()
        if backend == "sqlite" and url.query:
            _refuse_unknown(url)
    except (ArgumentError, ValueError, SAWarning) as error:
        raise unreadable(text) from error
    # part of the password would be taken for the host's name, and shown
    if "@" in (url.host or ""):
        raise BadInput(f"store '{without_secrets(text)}': write the password's @ as %40.")
    if backend != "sqlite" or url.database in (None, "", ":memory:"):
        return Address(url, None)
    file = Path(str(url.database))
    if not file.name:
        raise unreadable(text)
    return Address(url, file)


def _refuse_unknown(url: sa.URL) -> None:
    """Raises `SAWarning` where the driver would warn about an unknown part of the query, and open
    another file without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SAWarning)
        url.get_dialect()().create_connect_args(url)


def unreadable(text: str) -> BadInput:
    """The error for something that isn't an address."""
    return BadInput(
        f"store '{without_secrets(text)}' is neither a file nor an SQLAlchemy URL such as"
        " sqlite:///results/harness.db."
    )


def without_secrets(text: str) -> str:
    """A URL that may be broken, without anything that may be a password: what precedes the host,
    and the query's values."""
    shown = (
        re.sub(r"=[^&]*", "=***", re.sub(r"://.*@", "://***@", text, flags=re.DOTALL))
        if "://" in text
        else text
    )
    return plain(shown)[:300]
