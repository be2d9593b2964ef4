"""What one sees of a run from outside: where a store stands (`status`, `screen`), and what happens as it happens (`events`, `curves`)."""
