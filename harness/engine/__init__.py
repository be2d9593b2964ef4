"""The engine: what is left to do (scheduler), in what order (policy), where (worker), and the run
that combines them."""
