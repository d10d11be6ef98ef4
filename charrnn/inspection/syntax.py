"""Quotations, comments and brackets of a text, in prose and in common programming languages.

A label describes the text up to and with its character: a quotation is on from its opening mark, and off from
its closing mark.

N: characters of a block
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST = 10_000
"""Characters after which a quotation or comment that is not closed ends."""

BLANK_LINE = r"^[ \t]*\n"
OPENING = re.compile(
    rf"""
      (?P<quote> \"\"\" | ''' | ["“„«] )
      # In single quotes: one line. An apostrophe follows a letter, or has no partner in its line.
    | (?: (?<!\w) | (?<=\b[bfruBFRU]) | (?<=\b[bfruBFRU]{{2}}) )
        (?P<single> ['‘] (?! (?i:tis|twas|twere|twill|twould|em)\b )
          (?: [^'’\n\\] | \\. | ['’](?=\w) )* ['’] )
      # Neither a directive of C nor a number.
    | (?P<line> (?<!\S) \# (?! \d | (?:include|define|undef|if|ifdef|ifndef|else|elif|endif|pragma|error)\b )
        # Neither a web address nor Python's division.
        | (?: ^ | (?<=[;{{}},]) ) [ \t]* // )
    | (?P<comment> (?<![\w*./]) /\* )
    | (?P<bracket> [()\[\]{{}}] )
    | (?P<blank> {BLANK_LINE} )
    """,
    re.VERBOSE | re.MULTILINE,
)
"""What is looked for outside of quotations and comments."""

CLOSING = {
    key: re.compile(pattern, re.DOTALL | re.MULTILINE)
    for key, pattern in {
        '"""': r'\\.|(""")',
        "'''": r"\\.|(''')",
        '"': rf'\\.|("|{BLANK_LINE})',
        "“": rf"(”|{BLANK_LINE})",
        "„": rf"([“”]|{BLANK_LINE})",
        "«": rf"(»|{BLANK_LINE})",
        "line": r"(\n)",
        "comment": r"(\*/)",
    }.items()
}
"""What ends a quotation, by its opening mark, or a comment: group 1."""

PARTNERS = {")": "(", "]": "[", "}": "{"}


class SyntaxLabels(NamedTuple):
    """Of each character (N,): whether it is inside quotes, inside a comment; the number of open brackets."""

    quotes: NDArray[np.bool_]
    comments: NDArray[np.bool_]
    brackets: NDArray[np.intp]


class Syntax:
    """Reads a text block by block, from its beginning to its end; a block begins with a line."""

    def __init__(self) -> None:
        self._inside = ""  # a key of CLOSING, or "" outside of quotations and comments
        self._opened = 0  # the position of its opening mark in the block
        self._open = dict.fromkeys("([{", 0)

    def read(self, text: str) -> SyntaxLabels:
        """The labels of the next block."""
        size = len(text)
        labels = SyntaxLabels(np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, np.intp))
        depth_from, position = 0, 0
        while position < size:
            if self._inside:
                position = self._read_inside(text, position, labels)
                continue
            match = OPENING.search(text, position)
            if not match:
                break
            if match["bracket"] or match["blank"]:
                labels.brackets[depth_from : match.end() - 1] = sum(self._open.values())
                self._count(match["bracket"])
                depth_from = match.end() - 1
            elif match["single"]:
                labels.quotes[match.start("single") : match.end() - 1] = True
            else:
                self._inside, self._opened = match["quote"] or match.lastgroup or "", match.end() - 1
            position = match.end() - bool(self._inside)
        labels.brackets[depth_from:] = sum(self._open.values())
        self._opened -= size
        return labels

    def _read_inside(self, text: str, start: int, labels: SyntaxLabels) -> int:
        """Label to the end of the quotation or comment, or of the block; returns where that is."""
        inside = labels.comments if self._inside in ("line", "comment") else labels.quotes
        limit = self._opened + LONGEST
        closing = CLOSING[self._inside].finditer(text, max(start, self._opened + 1), limit)
        stop = next((match.end() for match in closing if match[1]), None)
        inside[start : min(limit, len(text)) if stop is None else stop - 1] = True
        if stop is not None or limit <= len(text):
            self._inside = ""
        return min(limit, len(text)) if stop is None else stop

    def _count(self, bracket: str | None) -> None:
        """Count a bracket; after a blank line, None, only braces are open."""
        if bracket is None:
            self._open["("] = self._open["["] = 0
        elif bracket in PARTNERS:
            self._open[PARTNERS[bracket]] = max(0, self._open[PARTNERS[bracket]] - 1)
        else:
            self._open[bracket] += 1
