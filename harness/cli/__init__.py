"""The command `harness`: one module for commands of a kind, `options` for the flags that they
share, `main` to start them."""
