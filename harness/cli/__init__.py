"""The command `harness`: one module per group of commands, `options` for shared flags, `main` to
start them."""
