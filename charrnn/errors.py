"""The errors that a user can correct: one line on stderr.

The exit status is 2 for ConfigError and 1 for the others. Every other exception but OSError is a bug
and keeps its traceback.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping


class CharrnnError(Exception):
    """An error that the user can correct; the message is one line and says how."""


class ConfigError(CharrnnError, ValueError):
    """A wrong setting or option, or options that exclude each other; the message names them."""


class CorpusError(CharrnnError):
    """A text that cannot be read, is empty or is too short."""


class UnknownCharacterError(CharrnnError):
    """A character that is not in the vocabulary."""


class CheckpointError(CharrnnError):
    """A checkpoint or saved state that is missing, damaged, of a newer version, or of another kind."""


class DownloadError(CharrnnError):
    """A corpus that cannot be downloaded, or differs from the catalogue's hash or size."""


_OUT_OF_MEMORY = (
    "allocat",
    "out of memory",
    "could not create a primitive",  # oneDNN, which torch uses
    "failed to map segment",  # of a library that is imported
    "exception set",  # CPython: "error return without exception set"
    "setting an exception",
)
"""Parts of the messages of torch, the dynamic linker and CPython when memory runs out."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. Libraries say so with several types of errors."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, (RuntimeError, ImportError, SystemError)):
        return any(part in str(error) for part in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError)


def wrong_value(option: str, value: object, rule: str) -> str:
    """The message for a value that an option refuses: "--hidden 0: must be a whole number from 1 to 99"."""
    import shlex

    return f"{option} {shlex.quote(str(value))}: must be {rule}"


def similar_name(given: str, names: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str | None:
    """The name that was probably meant: a synonym's, one that contains ``given``, or the most similar one.

    Case, and _ for -, make no difference. None where no name is similar.
    """
    import difflib

    def plain(name: str) -> str:
        return name.casefold().replace("_", "-")

    wanted, known = plain(given), {plain(name): name for name in names}
    if synonyms and wanted in synonyms:
        return synonyms[wanted]
    if wanted in known:
        return known[wanted]
    if len(wanted) > 2:
        containing = [name for name in known if wanted in name]
        if containing:  # names that begin so come first, then the shortest
            return known[min(containing, key=lambda name: (not name.startswith(wanted), len(name)))]
    close = difflib.get_close_matches(wanted, known, 1)
    return known[close[0]] if close else None


def did_you_mean(given: str, names: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """The end of a message, "; did you mean NAME?"; "" where no name is similar (see ``similar_name``)."""
    name = similar_name(given, names, synonyms)
    return "" if name is None else f"; did you mean {name}?"
