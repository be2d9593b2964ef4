"""Files, paths, limits and text that is shown: what every room may use."""
