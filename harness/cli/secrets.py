"""Keeps the password in a store's URL off the process's command line, where `ps` and the job list
of a Ray cluster would show it."""

import json
import os
import sys
from contextlib import suppress

from harness.io.passwords import masked

_VARIABLE = "VPT_HARNESS_ARGUMENTS"


def hide_passwords() -> None:
    """If an argument contains a password, restarts this command with `***` in its place; the
    original arguments are in `sys.argv` as before."""
    stored = os.environ.pop(_VARIABLE, None)  # not for the processes that this one starts
    if stored is not None:
        with suppress(ValueError, TypeError):
            arguments = json.loads(stored)
            if [masked(text) for text in arguments] == sys.argv[1:]:
                sys.argv[1:] = arguments
                return
    arguments = sys.argv[1:]
    shown = [masked(text) for text in arguments]
    if shown == arguments or sys.orig_argv[len(sys.orig_argv) - len(arguments) :] != arguments:
        return
    command = [*sys.orig_argv[: len(sys.orig_argv) - len(arguments)], *shown]
    sys.stdout.flush()
    os.execve(sys.executable, command, {**os.environ, _VARIABLE: json.dumps(arguments)})
