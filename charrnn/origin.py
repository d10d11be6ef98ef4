"""Where the text of a run comes from, and how it is read."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from charrnn.errors import CheckpointError
from charrnn.files import is_pipe


@dataclass(frozen=True)
class Origin:
    """The texts of a run; checkpoints record them, so that --resume finds them again.

    texts     files, folders, catalogue names, or "-" for stdin; none: the catalogue's default
    newlines  "lf" or "keep" (``Reading``); "": "lf", at byte level "keep"
    """

    texts: list[str]
    glob: str = "*"
    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = ""

    def __post_init__(self) -> None:
        if not self.newlines:
            object.__setattr__(self, "newlines", "keep" if self.byte_level else "lf")

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The origin that a checkpoint records. Raises CheckpointError."""
        try:
            origin = cls(**record)
            if not isinstance(origin.texts, list) or not all(isinstance(text, str) for text in origin.texts):
                raise TypeError("texts")
        except TypeError as error:
            raise CheckpointError(f"the run does not say how its text was read: {error}") from error
        return origin

    def record(self) -> dict[str, Any]:
        """What a checkpoint records: absolute paths, so that a run can be resumed from any folder."""
        texts = ["-" if is_pipe(text) else text for text in self.texts]
        texts = [os.path.abspath(text) if os.path.exists(text) else text for text in texts]
        return asdict(replace(self, texts=texts))

    @property
    def run_name(self) -> str:
        """The default name of a run on this text: the name of its first file."""
        first = self.texts[0] if self.texts else "python-stdlib"
        stem = "stdin" if first == "-" or is_pipe(first) else os.path.basename(os.path.abspath(first))
        stem = re.sub(r"\.(gz|bz2|xz)$", "", stem, flags=re.IGNORECASE)
        return re.sub(r"[^\w.-]+", "-", Path(stem).stem).strip(".-") or "run"
