"""Safetensors files with a JSON header, as checkpoints and saved states are."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from charrnn.errors import CheckpointError
from charrnn.files import atomic_write, is_pipe, json_text, write_errors

_INVALID = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
"""What a header with missing or invalid values, or a tensor of a type unknown to NumPy, raises."""

_TYPES = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
}
"""The types of a file that NumPy has too, by their names there; tensors of the last types come first."""
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_ORDER = {name: index for index, name in enumerate(reversed(_TYPES))}


@dataclass(frozen=True)
class TensorFormat:
    """A kind of file: its name in messages, the metadata key of its header, its newest version."""

    kind: str
    key: str
    version: int

    def write(self, path: Path, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Write a file, whole or not at all.

        Raises CheckpointError where the disk refuses, or where a pipe or a device is in its place.
        """
        if is_pipe(path):  # opening it would wait for a reader
            raise CheckpointError(f"cannot write {path}: it is a pipe or a device: remove it")
        text = json_text({"format": self.version, **header}, ascii_only=True)
        with write_errors(path, CheckpointError), atomic_write(path) as file:
            for piece in _pieces({self.key: text}, tensors):
                file.write(piece)

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
        """Context manager: the header and the tensors, which are mapped from the file and read-only.

        Raises CheckpointError for a missing, unreadable or damaged file, also where the block fails
        because a value of the header or a tensor is missing or invalid.
        """
        try:
            if path.exists() and not path.is_file():  # reading a pipe would wait
                raise CheckpointError(f"{path} is not a file")
            path.open("rb").close()  # gives the system's reason, which safetensors leaves out
            with safe_open(path, framework="numpy") as file:
                header = self._header(path, file.metadata() or {})
            yield header, _map_tensors(path)
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


def _pieces(metadata: Mapping[str, str], tensors: Mapping[str, NDArray[Any]]) -> Iterator[bytes | memoryview]:
    """Yields a safetensors file: the length of its header, the header, and each tensor, which is not copied.

    The tensors have the order that safetensors gives them, and the header ends with spaces, so that every
    tensor begins at a multiple of its number size.
    """
    types = {name: _NAMES[tensor.dtype.newbyteorder("<")] for name, tensor in tensors.items()}
    arrays = {name: np.asarray(tensors[name], _TYPES[kind], order="C") for name, kind in types.items()}
    names = sorted(arrays, key=lambda name: (_ORDER[types[name]], name))
    entries: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name in names:
        start, end = end, end + arrays[name].nbytes
        entries[name] = {"dtype": types[name], "shape": arrays[name].shape, "data_offsets": (start, end)}
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    yield struct.pack("<Q", len(header)) + header
    for name in names:
        yield arrays[name].reshape(-1).view(np.uint8).data


def _map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file that safetensors has checked. Raises OSError and the errors of ``_INVALID``."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entries = json.loads(file.read(length))
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    entries.pop("__metadata__", None)
    result = {}
    for name, entry in entries.items():
        shape, dtype = tuple(entry["shape"]), _TYPES[entry["dtype"]]
        start, stop = entry["data_offsets"]
        if stop - start != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"tensor {name!r} has another size than its shape says")
        tensor: NDArray[Any] = np.ndarray(shape, dtype, mapped, 8 + length + start)
        result[name] = (
            tensor if tensor.flags.aligned else tensor.copy()
        )  # only another program's files need it
    return result


def _is_text(path: Path) -> bool:
    """Whether a file begins as a UTF-8 text does, without control characters."""
    with path.open("rb") as file:
        start = file.read(1000).decode("utf-8", "ignore")  # the last character may be cut
    return bool(start) and not any(ord(character) < 32 and character not in "\t\n\r\f" for character in start)
