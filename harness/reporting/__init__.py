"""From the store to leaderboards: `frame` reads it, `stats` summarises, `tables` renders."""
