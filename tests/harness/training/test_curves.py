"""A run's curves, as they are kept and as they are read."""

from harness.store.records import by_name
from harness.training.curves import Curves


def test_curves_are_read_back_by_name():
    curves = Curves(3)
    for epoch, (loss, size) in enumerate([(2.0, 5.0), (float("inf"), 4.0), (1.0, 3.0)], start=1):
        curves.add({"loss": loss})
        if epoch > 1:
            curves.add({"size": size})
        curves.close(epoch)
    assert by_name(curves.read()) == {
        "loss": [(1, 2.0), (2, None), (3, 1.0)],
        "size": [(1, None), (2, 4.0), (3, 3.0)],
    }


def test_a_run_without_steps_has_none_and_a_point_without_an_epoch_is_left_out():
    assert by_name(Curves(3).read()) == {}
    assert by_name({"epoch": [None, 2.0], "loss": [1.0, 0.5]}) == {"loss": [(2, 0.5)]}
