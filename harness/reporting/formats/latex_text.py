"""Any text as LaTeX that compiles with pdflatex's own fonts: nothing in it is a command, and what
isn't ASCII is spelt out."""

import re
import unicodedata

from harness.text import plain

_SPECIAL = {
    **{character: f"\\{character}" for character in "{}$&#%_"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", '"': "''"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"[": "{[}", "*": "{*}"},  # after the end of a row, \\, both would be read as its arguments
}
_LETTERS = {
    "ß": "ss",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "§": "S",
    "…": "ldots",
}
_LETTERS = {character: f"\\{command}{{}}" for character, command in _LETTERS.items()}
_QUOTES = {
    "\u2013": "--",
    "\u2014": "---",
    "\u2018": "`",
    "\u2019": "'",
    "\u201c": "``",
    "\u201d": "''",
    "\xa0": "~",
}
_MATHS = {
    "±": r"\pm",
    "\xd7": r"\times",
    "\u2212": "-",
    "≤": r"\leq",
    "≥": r"\geq",
    "≈": r"\approx",
    "→": r"\to",
    "°": r"^\circ",
}
_MATHS = {
    character: f"${command}$"
    for character, command in {**_MATHS, "µ": r"\mu", "²": "^2", "³": "^3", "·": r"\cdot"}.items()
}
_ACCENTS = dict(
    zip(
        "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327",
        "`'^~=u.\"rHvc",
        strict=True,
    )
)
_GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|"
    "omega"
)
_BREAK, _NOTHING = "\ue000", "\ue001"
"""A place where a line may break, and a separator of two characters, while the text is still plain:
from Unicode's private area."""
_KNOWN = {**_SPECIAL, **_LETTERS, **_QUOTES, **_MATHS, _BREAK: r"\allowbreak{}", _NOTHING: "{}"}


def escaped(text: str, breaks: bool = False) -> str:
    """`text` as LaTeX in ASCII; a character that pdflatex's fonts lack becomes its code point,
    `U+4E2D`. `breaks` lets lines break within long words."""
    text = re.sub(f"[{_BREAK}{_NOTHING}]", " ", unicodedata.normalize("NFC", plain(text)))
    if breaks:
        text = re.sub(
            r"\S{21,}", lambda word: re.sub(r"([^\w\s]|_|\w{12})", rf"\1{_BREAK}", word[0]), text
        )
    # no ligatures: `--` stays two hyphens
    text = re.sub(r"([-'`,])(?=\1)|[?!](?=`)", lambda pair: f"{pair[0]}{_NOTHING}", text)
    return "".join(map(_character, text))


def _character(character: str) -> str:
    if character in _KNOWN:
        return _KNOWN[character]
    if character.isascii():
        return character
    return _accented(character) or _greek(character) or f"U+{ord(character):04X}"


def _accented(character: str) -> str | None:
    base, *marks = unicodedata.normalize("NFD", character)
    if len(marks) != 1 or marks[0] not in _ACCENTS or not (base.isascii() and base.isalpha()):
        return None
    return f"\\{_ACCENTS[marks[0]]}{{{chr(92) + base if base in 'ij' else base}}}"


def _greek(character: str) -> str | None:
    name = re.fullmatch(f"greek small letter ({_GREEK})", unicodedata.name(character, "").lower())
    return f"$\\{name[1]}$" if name else None
