"""A PostgreSQL password is in no line, row, file, report or process list, nor where the server is
away or refuses it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from made_up import VPT, filled, result
from postgres_server import SECRET, Server

from harness.cli import main as cli
from harness.cli import secrets
from harness.errors import BadInput
from harness.store import Store
from harness.store.check import check

FORMS = (
    SECRET,
    quote(SECRET, safe=""),
    quote(SECRET),
    SECRET.partition("@")[0],
    SECRET.rpartition(":")[2],
)
"""As it is, as a URL has it, and the halves that a careless reader would make of it."""


def assert_hidden(*texts: str) -> None:
    for text in texts:
        assert not [form for form in FORMS if form in text], text


def test_commands_tell_nothing(
    postgres: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    url = postgres.database()
    Store(url).add([VPT], results=[result(VPT, 7)])
    filled(tmp_path / "theirs.db")
    id = result(VPT, 7).id
    commands = [
        ("report", "--store", url),
        ("report", "--store", url, "--format", "json"),
        ("report", "--store", url, "--format", "html"),
        ("results", "list", f"--store={url}"),
        ("results", "import", "theirs.db", "--store", url),
        ("results", "import", url, url, "--checkpoints", "--store", "mine.db"),
        ("results", "import", url, "--store", url),
        ("results", "export", "all.parquet", "--store", url),
        ("results", "rm", id, "--store", url),
        ("results", "rm", "absent", "--yes", "--store", url),
        ("show", id, "--store", url),
        ("show", "absent", "--store", url),
        ("export", id, "tuned.safetensors", "--store", url),
        ("compare", "vpt", "ivpt", "--store", url),
        ("store", "check", "--store", url),
        ("store", "migrate", "--store", url),
        ("store", "check", "--store", url.replace("store_", "absent_")),
        ("store", "check", "--store", url.replace("postgresql+psycopg", "nonsense")),
        ("store", "check", "--store", url.replace("127.0.0.1", "localhost:a")),
        ("store", "check", "--store", url.replace("%40", "@")),
        ("store", "check", "--store", f"{url}?password={quote(SECRET)}&sslmode=never"),
        ("store", "check", "--store", url.replace(f"{postgres.port}", "1")[:-1], "--absent-option"),
    ]
    for command in commands:
        monkeypatch.setattr(sys, "argv", ["harness", *command])
        with suppress(SystemExit):
            cli.main()
        out, err = capsys.readouterr()
        assert out + err
        assert_hidden(out, err)
    for file in tmp_path.iterdir():
        assert_hidden(file.read_bytes().decode(errors="replace"))


def test_a_server_that_refuses_or_is_away_tells_nothing(
    postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.retry.QUIET", 0.0)
    url, said = postgres.database(), list[str]()
    without = f"postgresql://team@127.0.0.1:{postgres.port}/store_1"
    used = Store(url, say=said.append, patience=0.4)
    used.add_cell(VPT)
    bad = [
        Store(postgres.address("team", "absent"), say=said.append),
        Store(postgres.address("nobody", "postgres"), say=said.append),
        Store(url.replace("store_", "absent_"), say=said.append),
        Store(f"{url}?sslmode=require", say=said.append),
        Store(f"{url}?sslmode=never", say=said.append),
        Store(f"{url}?odd={quote(SECRET)}", say=said.append),
        Store(f"{without}?password={quote(SECRET, safe='')}x", say=said.append),
        Store(url.replace("127.0.0.1", "absent.invalid"), say=said.append),
    ]
    for store in bad:
        with pytest.raises(BadInput) as caught:
            store.results()
        assert_hidden(str(caught.value), store.name)
    postgres.stop()
    try:
        for store in (used, Store(url, say=said.append, patience=0.4)):
            with pytest.raises(BadInput, match="hasn't responded") as caught:
                store.results()
            assert_hidden(str(caught.value), store.name)
    finally:
        postgres.start()
    assert said
    assert_hidden(*said)


def test_a_driver_that_says_the_password_is_not_repeated() -> None:
    from harness.store.url import address

    there = address(f"postgresql+psycopg://team:{quote(SECRET, safe='')}@h/d")
    assert (
        there.line(ValueError(f"can't connect with\n password {SECRET} to h"))
        == "can't connect with password *** to h"
    )


@pytest.mark.slow
def test_a_run_goes_on_when_its_server_does_and_leaves_the_password_nowhere(
    postgres: Server, tiny, tmp_path: Path
) -> None:
    """Not on its command line, which Ray's job list has; not in its output, rows, checkpoints; not
    in what it leaves of Ray."""
    # short, as sockets' names must be
    url, ray = postgres.database(), Path(tempfile.mkdtemp(prefix="r"))
    arguments = [url if text == str(tiny.store) else text for text in tiny.arguments()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_TMPDIR": str(ray), "COLUMNS": "200"}
    command = [sys.executable, "-m", "harness", *arguments]
    store, end = Store(url), time.monotonic() + 200
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while not store.trials():
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        postgres.stop()
        listed = subprocess.run(
            ["ps", "-eo", "args", "ww"], capture_output=True, text=True, check=True
        ).stdout
        time.sleep(4)
        postgres.start()
        out, err = running.communicate()
    assert (running.returncode, "Stored in postgresql+psycopg://team:***@127.0.0.1" in out) == (
        0,
        True,
    ), err
    assert "doesn't respond" in err
    assert "responds again" in err
    shown = [line for line in listed.splitlines() if f":{postgres.port}/" in line]
    assert shown
    assert_hidden(out, err, *shown)
    assert (len(store.results()), len(store.trials()), store.failures(), check(store).faults) == (
        4,
        4,
        [],
        [],
    )
    assert_hidden(
        repr(store.results()), repr(store.trials()), repr(store.cells()), repr(store.leases())
    )
    left = [file for file in (*ray.rglob("*"), *tmp_path.rglob("*.safetensors")) if file.is_file()]
    assert left
    for file in left:
        assert_hidden(file.read_bytes().decode(errors="replace"))
    shutil.rmtree(ray)


def test_it_may_be_in_a_file_of_its_own(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.database()
    (tmp_path / "pgpass").write_text(
        f"127.0.0.1:{postgres.port}:*:team:{SECRET.replace(':', chr(92) + ':')}\n"
    )
    (tmp_path / "pgpass").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    store = Store(f"postgresql://team@{url.partition('@')[2]}", say=pytest.fail)
    store.add_cell(VPT)
    assert list(Store(url).cells()) == [VPT.key]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://team:a/b@h:5432/d", "postgresql+psycopg://team:***@h:5432/d"),
        ("--store=postgresql://team:pa55@ss@h/d", "--store=postgresql://team:***@h/d"),
        (
            "postgresql://h/d?user=team&password=a&sslmode=require",
            "postgresql://h/d?user=team&password=***&sslmode=require",
        ),
        ("postgresql://team@h:5432/d", "postgresql://team@h:5432/d"),
        ("sqlite:///results/harness.db", "sqlite:///results/harness.db"),
        ("ivpt(da=false)", "ivpt(da=false)"),
    ],
)
def test_arguments_are_shown_without_passwords(text: str, shown: str) -> None:
    assert secrets.masked(text) == shown == secrets.masked(shown)


SHOWS = """
import os, sys
from harness.cli.secrets import hide_passwords

hide_passwords()
print(sys.argv[1:])
print(open("/proc/self/cmdline").read().split(chr(0)))
print([name for name in os.environ if name.startswith("VPT_HARNESS_ARGUMENTS")])
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_the_command_keeps_its_arguments_and_hides_them(tmp_path: Path) -> None:
    script = tmp_path / "shows.py"
    script.write_text(SHOWS)
    arguments = ["a b", "--store", "postgresql://u:pa55@h/d", "é'\""]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    given, command, environment = done.stdout.splitlines()
    assert given == str(arguments)
    assert "pa55" not in command
    assert "'-W', 'error'" in command
    assert environment == "[]"


def test_whatever_stands_in_the_environment_is_not_taken_for_the_arguments(tmp_path: Path) -> None:
    script = tmp_path / "shows.py"
    script.write_text(SHOWS)
    for odd in ('["rm", "-y"]', "not JSON", "3", '[["a"]]'):
        environment = {**os.environ, "VPT_HARNESS_ARGUMENTS": odd}
        done = subprocess.run(
            [sys.executable, str(script), "report"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert done.stdout.splitlines()[0] == "['report']"
