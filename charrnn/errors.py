"""What the user can put right.

    CharrnnError                 any of these: one line on stderr, exit 1
    ├── ConfigError              a setting that makes no sense, named
    ├── CorpusError              a text that cannot be read, or is too short
    ├── UnknownCharacterError    a character the vocabulary does not hold
    ├── CheckpointError          a checkpoint that is missing, damaged, or of another kind
    └── DownloadError            a corpus that could not be fetched

Anything else that is raised is a bug and keeps its traceback.
"""


class CharrnnError(Exception):
    """A mistake the user can put right; its text is one line and says how."""


class ConfigError(CharrnnError, ValueError):
    """A setting that makes no sense; the text names the option."""


class CorpusError(CharrnnError):
    """A text that cannot be read as asked, or is too short to learn from."""


class UnknownCharacterError(CharrnnError):
    """A character that the vocabulary does not hold."""


class CheckpointError(CharrnnError):
    """A checkpoint that is missing, damaged, from the future, or not a checkpoint."""


class DownloadError(CharrnnError):
    """A corpus that could not be fetched, or is not what the catalogue says."""
