"""The page on loopback: what it answers, to whom, and that it follows the store."""

import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from harness.errors import BadInput
from harness.reporting.serve import HOST, Server


class Made:
    """A page that counts how often it was made."""

    def __init__(self) -> None:
        self.version, self.count, self.broken = "1", 0, False

    def page(self, version: str) -> str:
        if self.broken:
            raise BadInput("store x can't be used")
        self.count += 1
        return f"<p>version {version}</p>"


@pytest.fixture
def made() -> Made:
    return Made()


@pytest.fixture
def server(made: Made) -> Iterator[Server]:
    with Server(made.page, lambda: made.version, 0) as server:
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: Server, path: str, method: str = "GET", host: str | None = None
) -> tuple[int, str, dict[str, str]]:
    connection = HTTPConnection(HOST, server.server_address[1], timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, dict(answer.getheaders())


def test_the_page_is_made_once_a_version(server: Server, made: Made):
    assert ask(server, "/")[:2] == (200, "<p>version 1</p>")
    assert ask(server, "/?x=1")[0] == 200
    assert made.count == 1
    assert ask(server, "/version")[:2] == (200, "1")
    made.version = "2"
    assert ask(server, "/")[1] == "<p>version 2</p>"
    assert made.count == 2


def test_it_listens_on_loopback_alone_and_only_reads(server: Server):
    assert server.server_address[0] == "127.0.0.1"
    status, body, headers = ask(server, "/", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", "16")
    assert headers["Cache-Control"] == "no-store"
    for method in ("POST", "PUT", "DELETE"):
        assert ask(server, "/", method)[0] == 501
    for path in ("/../etc/passwd", "/results", "/%2e%2e/x"):
        assert ask(server, path)[0] == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 403), ("localhost:80", 200), ("[::1]", 200), ("127.0.0.1.evil.example", 403)],
)
def test_another_sites_name_is_refused(server: Server, host: str, status: int):
    assert ask(server, "/", host=host)[0] == status


def test_a_store_that_cannot_be_read_is_said(server: Server, made: Made):
    made.broken = True
    assert ask(server, "/")[:2] == (503, "store x can't be used\n")


def test_a_port_that_is_taken_is_one_line(made: Made):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(BadInput, match="isn't available"):
            Server(made.page, lambda: made.version, taken.getsockname()[1])
