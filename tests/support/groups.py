"""Tasks by group, as made-up boards have them: the mini suite, and as many as all 24."""

MINI = {
    "natural": ["digits", "fashion"],
    "structured": ["sprites-location", "sprites-orientation", "sprites-count"],
}
SIZES = {"natural": 7, "specialized": 4, "structured": 8, "fgvc": 5}
ALL = {
    group: [f"{group}_task_{number}" for number in range(count)] for group, count in SIZES.items()
}
