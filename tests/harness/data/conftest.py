from pathlib import Path

import pytest
from tiny_folder import cache, card, cards, root

__all__ = ["cache", "card", "cards", "root"]


@pytest.fixture(autouse=True)
def _a_cache_each(cache: Path) -> None:
    """No test finds what another has decoded."""
