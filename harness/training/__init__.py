"""One training run: the contract of a method, heads, recipes, the loop, and the metrics."""
