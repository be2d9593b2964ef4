"""Wrong flags, arguments and commands, said as any other bad input is: one line that names the
command, what is wrong, and where to look."""

import re
from typing import Any

import typer

from harness.errors import BadInput, nearest

WRONG_USE: type[Exception] = next(
    kind
    for kind in typer.BadParameter.__mro__
    if issubclass(kind, Exception) and kind.__name__ == "ClickException"
)
"""What a parser of flags raises: click's own class, or Typer's copy of it."""
IN_WORDS = {
    r"Input should be a valid integer.*": "expected a whole number.",
    r"Input should be a valid number.*": "expected a number.",
    r"Input should be greater than or equal to (\d+).*": r"expected \1 or more.",
    r"Input should be less than or equal to (\d+).*": r"expected \1 or less.",
    r"got unexpected extra argument(\(s\)|s)?": "unexpected argument",
}
"""Patterns of a library's messages, and how a sentence of ours has them."""


def called(app: typer.Typer) -> int:
    """Runs the command that was typed. Returns its exit code.

    Raises:
        BadInput: The command line can't be understood.
        KeyboardInterrupt: Ctrl-C at a question, or no answer to it.
        EOFError: A command's own, where something ended too soon; the library would call it a
            question without an answer.
    """
    try:
        return app(prog_name="harness", standalone_mode=False) or 0
    except WRONG_USE as error:
        context: Any = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            return 2  # the help was printed when the error was made
        raise BadInput(line(error, context)) from None
    except typer.Abort as abort:
        if isinstance(abort.__cause__, EOFError):  # from a file; a question's answer has no cause
            raise abort.__cause__ from None
        raise KeyboardInterrupt from None


def line(error: Any, context: Any) -> str:
    """The message of one error, as a sentence, with the command whose help is of use."""
    path = "harness" if context is None else context.command_path
    flag = getattr(error, "option_name", None)
    if type(error).__name__ == "NoSuchOption" and flag:
        known = [] if context is None else [n for p in context.command.params for n in p.opts]
        said = f"no option '{flag}'.{nearest(flag, known)}"
    else:
        said = " ".join(error.format_message().split()).rstrip(".") + "."
        said = said[:1].lower() + said[1:]
        for pattern, plain in IN_WORDS.items():
            said = re.sub(pattern, plain, said)
    of = path.removeprefix("harness").strip()
    return f"{of}: {said} See `{path} --help`." if of else f"{said} See `{path} --help`."
