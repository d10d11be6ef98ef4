"""Where the text of a run comes from, and how it is read."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from charrnn.errors import CheckpointError
from charrnn.files import is_pipe

FILE_LABEL = "file"
"""The label that --label-by file makes: its value is the name of a document's file."""


@dataclass(frozen=True)
class Origin:
    """The texts of a run; checkpoints record them, so that --resume finds them again.

    texts     files, folders, catalogue names, or "-" for stdin; none: the catalogue's default
    newlines  "lf" or "keep" (``Reading``); "": "lf", at byte level "keep"
    documents, labels, vectors, label_by  of ``text.documents.Division``; "" for one long text
    """

    texts: list[str]
    glob: str = "*"
    encoding: str = "utf-8"
    byte_level: bool = False
    newlines: str = ""
    documents: str = ""
    labels: list[str] = field(default_factory=list)
    vectors: list[str] = field(default_factory=list)
    label_by: str = ""

    def __post_init__(self) -> None:
        if self.newlines == "":
            object.__setattr__(self, "newlines", "keep" if self.byte_level else "lf")

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Self:
        """The origin that a checkpoint records. Raises CheckpointError."""
        try:
            for name in record.keys() - {field.name for field in fields(cls)}:
                raise TypeError(f"{name!r} is not known")
            origin = cls(**record)
            for name in ("texts", "labels", "vectors"):
                values = getattr(origin, name)
                if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                    raise TypeError(name)
            for name in ("glob", "encoding", "newlines", "documents", "label_by"):
                if not isinstance(getattr(origin, name), str):
                    raise TypeError(name)
            if not isinstance(origin.byte_level, bool):
                raise TypeError("byte_level")
        except TypeError as error:
            raise CheckpointError(f"the run does not say how its text was read: {error}") from error
        return origin

    def record(self) -> dict[str, Any]:
        """What a checkpoint records: absolute paths, so that a run can be resumed from any folder."""
        texts = ["-" if is_pipe(text) else text for text in self.texts]
        texts = [os.path.abspath(text) if os.path.exists(text) else text for text in texts]
        values = asdict(replace(self, texts=texts))
        left_out = ("documents", "labels", "vectors", "label_by")
        return {name: value for name, value in values.items() if value or name not in left_out}

    @property
    def run_name(self) -> str:
        """The default name of a run on this text: the name of its first file."""
        first = self.texts[0] if self.texts else "python-stdlib"
        stem = "stdin" if first == "-" or is_pipe(first) else os.path.basename(os.path.abspath(first))
        stem = re.sub(r"\.(gz|bz2|xz)$", "", stem, flags=re.IGNORECASE)
        return re.sub(r"[^\w.-]+", "-", Path(stem).stem).strip(".-") or "run"
