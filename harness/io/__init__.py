"""Files, paths, limits and printed commands, for all other rooms."""
