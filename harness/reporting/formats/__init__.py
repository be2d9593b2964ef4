"""A leaderboard in each form that it can be asked for: one module a format."""
