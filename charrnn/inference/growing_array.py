"""Arrays that grow: small ones in memory, large ones in a temporary file that has no name.

Memory stays flat, and nothing is left behind however the process ends.
"""

from __future__ import annotations

import mmap
import weakref
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from charrnn.text.cache import cache_write_errors, temporary_file, write_all


class GrowingArray:
    """Numbers that are appended in pieces; more than ``limit`` of them go to a file in the cache's folder."""

    def __init__(self, dtype: DTypeLike, limit: int) -> None:
        self.dtype, self.limit, self.size = np.dtype(dtype), limit, 0
        self._pieces: list[NDArray[Any]] = []
        self._file: IO[bytes] | None = None

    def append(self, numbers: NDArray[Any]) -> None:
        """Append the numbers, as the array's type. Raises CorpusError where the disk refuses."""
        self.size += len(numbers)
        self._pieces.append(numbers.astype(self.dtype))
        if self._file is not None or self.size > self.limit:
            with cache_write_errors():
                self._write()

    def extend_to(self, size: int) -> None:
        """Append zeros up to ``size`` numbers. Raises CorpusError."""
        while self.size < size:
            self.append(np.zeros(min(size - self.size, self.limit), self.dtype))

    def array(self) -> NDArray[Any]:
        """All numbers, when there are no more to append: in memory, or mapped from the file.

        The file lasts as long as the array.
        """
        if self._file is None:
            return np.concatenate(self._pieces) if self._pieces else np.empty(0, self.dtype)
        with self._file as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0), self.dtype)

    def _write(self) -> None:
        if self._file is None:
            self._file = temporary_file()
            weakref.finalize(self, self._file.close)  # also where an error ends the counting
        for piece in self._pieces:
            write_all(self._file, piece)
        self._pieces.clear()


def smallest(numbers: NDArray[np.integer], limit: int) -> NDArray[np.unsignedinteger]:
    """The numbers, 0 or more, in the smallest unsigned type that holds them."""
    dtype = np.min_scalar_type(int(numbers.max()))
    if dtype == numbers.dtype:
        return numbers  # type: ignore[return-value]
    result = GrowingArray(dtype, limit)
    for start in range(0, len(numbers), limit):
        result.append(numbers[start : start + limit])
    return result.array()
