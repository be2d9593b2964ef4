"""Tasks: what each is, as a TOML card, and the suites that they form."""
