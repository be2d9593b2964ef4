"""What is done where the hub of weights can't be reached."""

import socket
import time

import pytest
from huggingface_hub import constants

from harness.backbones import hub

NAME = "vit_tiny_patch16_224.augreg_in21k"


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "getproxies", dict)
    hub.reachable.cache_clear()
    yield
    hub.reachable.cache_clear()


def test_what_listens_is_reachable_and_what_has_ended_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert hub.reachable(f"http://127.0.0.1:{port}")
    hub.reachable.cache_clear()
    assert not hub.reachable(f"http://127.0.0.1:{port}")
    assert not hub.reachable("https://nothing.invalid")


def test_a_proxy_may_know_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy:8080"})
    assert hub.reachable("https://nothing.invalid")


def test_offline_the_hub_s_client_isn_t_asked_to_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "https://nothing.invalid")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    started = time.monotonic()
    with hub.without_waiting():
        assert constants.is_offline_mode()
    assert not constants.is_offline_mode()
    assert time.monotonic() - started < hub.SECONDS + 2


def test_it_is_said_where_weights_are_kept_and_come_from(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/somewhere/hub")
    said = hub.bring(NAME)
    assert "/somewhere/hub" in said
    assert f"{constants.ENDPOINT}/timm/{NAME}" in said
