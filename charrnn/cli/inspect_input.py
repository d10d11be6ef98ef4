"""The network that ``charrnn inspect-cell`` looks at, and the text that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from charrnn.cli.terminal import Terminal
from charrnn.cli.text_reader import Reader, Text
from charrnn.errors import CharrnnError, CorpusError
from charrnn.files import write_errors

if TYPE_CHECKING:
    from charrnn.inference.network import Ids, Inference
    from charrnn.runs.checkpoint import Checkpoint
    from charrnn.text.vocabulary import Vocabulary


class Subject(NamedTuple):
    """A network, and a text that it reads.

    name    of the model
    reader  says at the end which characters were unknown
    """

    name: str
    checkpoint: Checkpoint
    inference: Inference
    text: Text
    reader: Reader

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's vocabulary."""
        return self.checkpoint.header.vocabulary

    def pieces(self) -> Iterator[Ids]:
        """The text in pieces (N,). Raises CorpusError for an empty one, before anything is returned."""
        pieces = (piece for piece in self.text.pieces if len(piece))
        first = next(pieces, None)
        if first is None:
            self.reader.check_not_empty(self.text.name, 0)
            raise CorpusError("the text is empty: give another, or --sample 500")
        return chain([first], pieces)

    def ids(self, out: Terminal) -> Ids:
        """(N,) the whole text, in a temporary file that is mapped into memory. Raises CharrnnError."""
        from tempfile import TemporaryFile, gettempdir

        import numpy as np

        file = TemporaryFile(prefix="charrnn-")  # noqa: SIM115  closed with the command
        out.cleanup.enter_context(file)
        bar = out.bar(desc="reading", unit="char", unit_scale=True, total=self.text.size, delay=1)
        dtype = self.vocabulary.id_dtype
        with write_errors(Path(gettempdir()), CharrnnError, "; set $TMPDIR to another folder"):
            for piece in self.pieces():
                file.write(piece.astype(dtype).tobytes())
                bar.update(len(piece))
            file.flush()
        bar.close()
        self.reader.report()
        return np.memmap(file, dtype, "r")
