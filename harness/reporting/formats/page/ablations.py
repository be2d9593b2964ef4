"""Ablations for the page: the families of variants that switch toggles."""

from typing import Any

from harness.reporting.display import NOTHING, interval_text, signed
from harness.reporting.formats.page.values import number
from harness.reporting.section import Section
from harness.reporting.toggle_families import FamilySetting, families
from harness.text import plain


def ablations(part: Section) -> list[dict[str, Any]]:
    """Families; `settings` are [variant, which toggles are on, difference and its interval, the
    texts of both]."""
    order = {variant: index for index, variant in enumerate(part.scores)}
    return [
        {
            "name": plain(family.name),
            "toggles": [plain(toggle) for toggle in family.toggles],
            "reference": order[family.reference],
            "all_off": family.all_off,
            "settings": [
                [
                    order[setting.variant],
                    [setting.on[toggle] for toggle in family.toggles],
                    *_difference(setting, setting.variant == family.reference),
                ]
                for setting in family.settings
            ],
        }
        for family in families(part)
    ]


def _difference(setting: FamilySetting, is_reference: bool) -> tuple[list[Any] | None, list[str]]:
    difference = setting.difference
    if is_reference:
        return None, ["reference", ""]
    if difference is None:
        return None, [NOTHING, "not the same tasks"]
    low, high = difference.low, difference.high
    ends = "needs 3 tasks" if low is None else interval_text(low, high, 2, with_sign=True)
    return [number(value) for value in (difference.mean, low, high)], [
        signed(difference.mean, 2),
        ends,
    ]
