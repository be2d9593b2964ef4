"""Passwords in texts that are shown or written."""

import re


def masked(text: str) -> str:
    """A text with `***` for passwords in a URL: after the user's name, or in the query."""
    text = re.sub(r"(\w://[^:/?#@]*):.*@", r"\1:***@", text)
    return re.sub(r"([?&]\w*password=)[^&]*", r"\1***", text)
