"""Safetensors files with a JSON header, as checkpoints and saved states are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from charrnn.errors import CheckpointError
from charrnn.files import atomic_write, write_errors

_INVALID = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What a header with missing or invalid values, or a tensor of a type unknown to NumPy, raises."""


@dataclass(frozen=True)
class TensorFormat:
    """A kind of file: its name in messages, the metadata key of its header, its newest version."""

    kind: str
    key: str
    version: int

    def write(self, path: Path, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Write a file, whole or not at all. Raises CheckpointError where the disk refuses."""
        arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
        text = json.dumps({"format": self.version, **header}, allow_nan=False)
        with write_errors(path, CheckpointError), atomic_write(path) as file:
            file.write(save(arrays, {self.key: text}))

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[tuple[dict[str, Any], Any]]:
        """Context manager: the header and the open safetensors file.

        Raises CheckpointError for a missing, unreadable or damaged file, also where the block fails
        because a value of the header or a tensor is missing or invalid.
        """
        try:
            if path.exists() and not path.is_file():  # reading a pipe would wait
                raise CheckpointError(f"{path} is not a file")
            path.open("rb").close()  # gives the system's reason, which safetensors leaves out
            with safe_open(path, framework="numpy") as file:
                yield self._header(path, file.metadata() or {}), file
        except CheckpointError:
            raise
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointError(f"no {self.kind} at {path}") from error
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
        except SafetensorError as error:
            if _is_text(path):
                raise CheckpointError(
                    f"{path} is a text, not a {self.kind}; to train on a text: charrnn train TEXT"
                ) from error
            raise CheckpointError(f"{path} is not a {self.kind}, or is damaged: {error}") from error
        except _INVALID as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise CheckpointError(
                f"{path}: this {self.kind} is damaged or of another version of charrnn: {reason}"
            ) from error

    def _header(self, path: Path, metadata: dict[str, str]) -> dict[str, Any]:
        if self.key not in metadata:
            raise CheckpointError(f"{path} is a safetensors file, but not a {self.kind} of charrnn")
        header: dict[str, Any] = json.loads(metadata[self.key])
        version = header["format"]
        if type(version) is not int or version < 1:
            raise ValueError(f"format {version!r}")
        if version > self.version:
            raise CheckpointError(
                f"{path} has {self.kind} format {version}, this charrnn reads up to {self.version}:"
                " upgrade charrnn"
            )
        return header


def _is_text(path: Path) -> bool:
    """Whether a file begins as a UTF-8 text does, without control characters."""
    with path.open("rb") as file:
        start = file.read(1000).decode("utf-8", "ignore")  # the last character may be cut
    return bool(start) and not any(ord(character) < 32 and character not in "\t\n\r\f" for character in start)
