"""The engine: what is left to do (scheduler), in what order (search), where (worker), and the run
that joins them."""
