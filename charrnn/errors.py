"""The errors that a user can correct: one line on stderr.

The exit status is 2 for ConfigError and 1 for the others. Every other exception but OSError is a bug
and keeps its traceback.
"""


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
