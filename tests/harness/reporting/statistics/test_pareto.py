"""The front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from harness.reporting.statistics.pareto import pareto

POINTS = st.dictionaries(
    st.integers(0, 30).map(str), st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20
)


@given(POINTS)
def test_nobody_on_the_front_is_beaten(points: dict[str, tuple[int, int]]) -> None:
    def beaten(variant: str) -> bool:
        cost, score = points[variant]
        return any(
            other[0] <= cost and other[1] >= score and other != (cost, score)
            for other in points.values()
        )

    front = pareto(points)
    assert set(front) == {variant for variant in points if not beaten(variant)}
    assert [points[variant][0] for variant in front] == sorted(
        points[variant][0] for variant in front
    )
