"""The arithmetic that scales counted runs to VTAB-1k's sizes, against the counts of the protocol
written out by hand."""

import protocol_cost
import pytest

from harness.store import Trial
from harness.tasks.cards import load_cards, load_suites


@pytest.fixture(scope="module")
def vtab():
    cards = load_cards()
    return [cards[name] for name in load_suites()["vtab"].tasks]


def test_the_released_habit_and_the_same_selection(vtab):
    test = sum(card.sizes["test"] for card in vtab)
    released = protocol_cost.habit(40, vtab, 100, 5)
    assert released == 19 * 40 * 100 * (1600 + 200) + 19 * 5 * 100 * (2000 + 200) + 5 * 100 * test
    same = protocol_cost.scaled([(40, 40)], vtab, 100, 5)
    assert same == 19 * 40 * (100 * 1600 + 200) + 19 * 5 * 100 * 2000 + 5 * test
    assert released / same > 2.4


def test_pruned_trials_count_by_what_they_trained(vtab):
    card, protocol = vtab[0], protocol_cost.shortened("default")
    trials = [
        Trial(
            "c", 0, {}, "complete", 70.0, {10: 60.0, 20: 70.0}, None, 1.0, 20 * 1600 + 2 * 200, {}
        ),
        Trial("c", 1, {}, "pruned", None, {10: 50.0}, None, 1.0, 10 * 1600 + 200, {}),
    ]
    assert (protocol.epochs, protocol.score_every, protocol.prune_from) == (20, 2, 8)
    assert protocol_cost.counted(trials, card, protocol) == (1.5, 3)
    one = [card]
    expected = 2 * 800 * 100 * 1.5 + 3 * 200 + 5 * (2 * 1000 * 100 + card.sizes["test"])
    assert protocol_cost.scaled([(1.5, 3)], one, 100, 5) == expected
