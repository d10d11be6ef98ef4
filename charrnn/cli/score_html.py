"""``charrnn score --html``: a text as a page, shaded by surprise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charrnn.cli import shades
from charrnn.cli.page import write_page
from charrnn.cli.score_output import Characters, Symbols, Total, bits, character_rows, percent

if TYPE_CHECKING:
    from charrnn.inference.score import ScoredPiece
    from charrnn.text.vocabulary import Vocabulary

BLOCK = 5_000
"""The most characters of a block. A browser lays out only the blocks that can be seen."""


class _Character(NamedTuple):
    """A character of the page: its text, its shade, and what is shown while the mouse is over it."""

    text: str
    level: int
    about: str


def write_shaded_page(
    path: Path, total: Total, pieces: Iterable[ScoredPiece], vocabulary: Vocabulary
) -> None:
    """Write the page as the pieces come; ``total`` counts them meanwhile. Raises CharrnnError."""
    levels = range(shades.LIGHTEST, shades.LEVELS + 1)
    write_page(
        path,
        "score.html",
        blocks=_blocks(_characters(pieces, vocabulary)),
        total=total,
        levels=[(level, level / shades.LEVELS) for level in levels],
        first=shades.FIRST_SHADE,
        full=shades.FULL_SHADE,
    )


def _blocks(characters: Iterable[_Character]) -> Iterator[list[_Character]]:
    """The lines of the text; a long one in several blocks."""
    block: list[_Character] = []
    for character in characters:
        block.append(character)
        if character.text == "\n" or len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _characters(pieces: Iterable[ScoredPiece], vocabulary: Vocabulary) -> Iterator[_Character]:
    """The characters of a text. At byte level those of its first byte are the alternatives of a character."""
    symbols, decoder = Symbols(vocabulary), Characters(vocabulary)
    about = ""
    for piece in pieces:
        for symbol, score, rank, others in character_rows(piece, symbols.others):
            figures = f"{percent(score)}, {bits(score):.1f} bits, rank {rank}"
            about = about or f"{figures}; alternatives: {symbols.listed(others)}"
            for character, surprise in decoder.add(symbol, score):
                shown = character if character in "\n\t" else shades.visible(character)
                yield _Character(
                    shown, shades.level_of_surprise(surprise), f"{shades.sign(character)} {about}"
                )
                about = ""
