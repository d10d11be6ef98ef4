"""charrnn: a character-level recurrent text generator, for the shell and for Python (docs/python.md).

The names in ``__all__`` are imported when they are first used, so that ``import charrnn`` is cheap.
"""

from charrnn.version import __version__

TYPE_CHECKING = False  # as typing's, whose import would take longer than all of this one
if TYPE_CHECKING:
    from charrnn.api import Model, Sampling, load, models, train
    from charrnn.errors import (
        CharrnnError,
        CheckpointError,
        ConfigError,
        CorpusError,
        DownloadError,
        UnknownCharacterError,
    )
    from charrnn.runs.history import Report

__all__ = [
    "CharrnnError",
    "CheckpointError",
    "ConfigError",
    "CorpusError",
    "DownloadError",
    "Model",
    "Report",
    "Sampling",
    "UnknownCharacterError",
    "__version__",
    "load",
    "models",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = "charrnn.errors" if name.endswith("Error") else "charrnn.api"
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
