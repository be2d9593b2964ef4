"""What a page without a network lets its browser run."""

import base64
import hashlib


def digest(text: str) -> str:
    """The hash by which a content security policy identifies an inline script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
