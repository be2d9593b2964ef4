"""Whether Hugging Face's hub, from which timm fetches weights, can be reached; where they are kept
once they were fetched, and how to bring them."""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

SECONDS = 3.0
"""For a connection to the hub: its client would try for most of a minute."""


@contextmanager
def without_waiting() -> Generator[None]:
    """Inside, what is fetched is taken from the hub's cache alone if the hub can't be reached, and
    fails at once if it isn't there."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or reachable(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


@cache
def reachable(address: str) -> bool:
    """Whether something listens there, or a proxy is set that may know more."""
    url = urlsplit(address)
    if url.scheme in getproxies():
        return True
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        socket.create_connection((url.hostname or "", port), SECONDS).close()
    except OSError:
        return False
    return True


def unreachable() -> str:
    """Says so if the hub can't be reached; else nothing."""
    from huggingface_hub import constants

    return "" if reachable(constants.ENDPOINT) else f"no connection to {constants.ENDPOINT}"


def bring(name: str) -> str:
    """How to get a backbone's weights without a connection: a sentence."""
    import timm
    from huggingface_hub import constants

    id = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    where = f" from {constants.ENDPOINT}/{id}" if id else ""
    folder = str(constants.HF_HUB_CACHE).replace(os.path.expanduser("~"), "~", 1)
    return (
        f"Fetched weights are kept in {folder} (HF_HOME moves it, HF_ENDPOINT names a mirror):"
        f" fetch them{where} where there is a network, and bring that folder"
    )
