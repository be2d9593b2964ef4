"""A result as `harness show` prints it."""

from pathlib import Path

from made_up import DEEP, VPT, failure, filled, result, trial

from harness.reporting.result_card import card
from harness.reporting.result_detail import detail
from harness.store import Store
from harness.text import rendered


def shown(store: Store, id: str) -> str:
    return rendered(card(detail(store, id)))


def test_a_result_says_what_it_is_and_how_it_came(tmp_path: Path):
    store = filled(tmp_path / "a.db", [VPT, DEEP])
    row = result(VPT, 7)
    text = shown(store, row.id[:6])
    head, *facts = text.splitlines()
    assert head.startswith(f"vpt on digits, seed 7  {row.score:.2f} %")
    said = {line.split("  ")[0]: " ".join(line.split("  ")[1:]).strip() for line in facts}
    assert said["id"] == row.id
    for name, value in row.params.items():
        assert f"{name}={value}" in said["hyper-parameters"]
    assert f"{row.trainable:,} trained" in said["parameters"]
    assert f"harness reproduce {row.id} --store" in text


def test_the_best_trial_comes_first_and_failed_ones_say_why(tmp_path: Path):
    store = filled(tmp_path / "a.db", [VPT])
    best = max(store.trials(VPT.key), key=lambda one: one.value or 0.0)
    table = shown(store, result(VPT, 7).id).partition("Search: ")[2].splitlines()
    assert len(table) >= len(store.trials(VPT.key)) + 2
    assert table[2].split()[0] == str(best.number)
    assert f"{best.value:.2f}" in table[2]


def test_of_equally_good_trials_the_chosen_one_comes_first(tmp_path: Path):
    """With the smaller learning rate, as a search takes it."""
    store = Store(tmp_path / "a.db")
    store.add_cell(VPT)
    rates = (0.5, 0.2, 0.2, 0.1)
    store.add_trials(
        [
            trial(VPT, number, 70.0 if number < 3 else 60.0, params={"base_lr": rate})
            for number, rate in enumerate(rates)
        ]
    )
    store.add_results([result(VPT, 7)])
    table = shown(store, result(VPT, 7).id).partition("Search: ")[2].splitlines()
    assert [line.split()[0] for line in table[2:6]] == ["1", "2", "0", "3"]


def test_a_run_that_failed_shows_its_traceback(tmp_path: Path):
    store = Store(tmp_path / "a.db")
    store.add_cell(VPT)
    store.add_trials([trial(VPT, 0)])
    failed = failure(VPT, 5)
    store.add_failure(failed)
    from harness.store import result_id

    text = shown(store, result_id(VPT.key, 5))
    assert text.splitlines()[0] == "vpt on digits, seed 5  failed"
    assert failed.line in text
