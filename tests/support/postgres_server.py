"""A PostgreSQL server of the tests' own: on loopback, in a temporary folder, to be stopped, killed
and started again as a test wants."""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

SECRET = "no-one:may/see@this"
"""The password of role `team`, in a store's URL with its odd characters quoted."""


def programs() -> Path | None:
    """The folder of the newest `initdb` and `postgres`, as Debian has them, or as the path has;
    None where PostgreSQL isn't installed."""
    found = sorted(
        glob.glob("/usr/lib/postgresql/*/bin/initdb"),
        key=lambda name: int(name.split("/")[4].partition(".")[0]),
    )
    at = found[-1] if found else shutil.which("initdb")
    return Path(at).resolve().parent if at else None


class Server:
    """Started when it is made. Everything of it is in one folder, which `remove` removes."""

    def __init__(self, at: Path):
        self._at, self._process = at, None
        self.folder = Path(tempfile.mkdtemp(prefix="vpt-harness-postgres-"))
        self.user: str | None = None
        """Who it runs as, where that isn't us."""
        self._as: dict[str, Any] = {"cwd": self.folder, "stdin": subprocess.DEVNULL}
        if os.geteuid() == 0:  # which the server refuses to be
            self.user = next(
                user.pw_name
                for user in sorted(pwd.getpwall(), key=lambda user: user.pw_name != "postgres")
                if user.pw_uid
            )
            self._as |= {
                "user": self.user,
                "group": pwd.getpwnam(self.user).pw_gid,
                "extra_groups": [],
            }
            shutil.chown(self.folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = self.folder / "password"
        password.write_text(SECRET)
        password.chmod(0o644)
        how = [
            "--auth=scram-sha-256",
            "--username=root",
            f"--pwfile={password}",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]
        subprocess.run(
            [at / "initdb", "-D", self.folder / "data", *how],
            check=True,
            capture_output=True,
            **self._as,
        )
        self.start()
        self.execute(f"create role team login password '{SECRET}'")
        self._databases = 0

    def start(self) -> None:
        """Starts it, and waits until it answers. Only from the main thread: it ends with the thread
        that starts it."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
        }
        command = [
            self._at / "postgres",
            "-D",
            self.folder / "data",
            *(f"--{name}={value}" for name, value in settings.items()),
        ]
        if setpriv := shutil.which("setpriv"):
            # it ends with the tests, even where those are killed
            command = [setpriv, "--pdeathsig", "INT", "--", *command]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as)
        import psycopg  # here, as in `execute`: only tests that want a server need a driver

        for _ in range(600):
            try:
                return self.execute("select 1")
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.05)
        raise TimeoutError((self.folder / "log").read_text())

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: SIGINT breaks connections off, SIGQUIT is a crash, as far as the data know."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(60)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """As the superuser."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.address("root", database), autocommit=True) as connection:
            connection.execute(sql.SQL(statement))  # pyright: ignore[reportArgumentType]

    def address(
        self, role: str, database: str, scheme: str = "postgresql", secret: str = SECRET
    ) -> str:
        return f"{scheme}://{role}:{quote(secret, safe='')}@127.0.0.1:{self.port}/{database}"

    def database(self, options: str = "") -> str:
        """The URL of a new, empty database, as `--store` takes it."""
        self._databases += 1
        self.execute(f"create database store_{self._databases} owner team {options}")
        return self.address("team", f"store_{self._databases}", "postgresql+psycopg")

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)
