"""What the tests of the engine share: a PostgreSQL server."""

import os
from collections.abc import Iterator

import pytest
from postgres_server import Server, programs


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of our own, running. Skipped where PostgreSQL isn't installed; failing there with VPT_HARNESS_REQUIRE_POSTGRES=1."""
    at = programs()
    if at is None:
        says = pytest.fail if os.environ.get("VPT_HARNESS_REQUIRE_POSTGRES") == "1" else pytest.skip
        says("PostgreSQL isn't installed: apt-get install postgresql")
    server = Server(at)
    yield server
    server.remove()
