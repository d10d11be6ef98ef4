"""Where the learning happens: one CPU or one GPU."""

from __future__ import annotations

import torch

from charrnn.errors import ConfigError


def pick(name: str = "auto") -> torch.device:
    """ "auto" takes a GPU where there is one. Raises ConfigError for a device that is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name} cannot be used here: {reason}") from error
    return device


def describe(device: torch.device) -> str:
    """The device as a person knows it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
