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


def precision(device: torch.device, wanted: str = "auto") -> torch.dtype | None:
    """The recurrent kernel's type, None for the weights' own float32.

    For "auto" bfloat16 where the device has instructions for it.

    A function of the machine alone, not of a timing, so that a run can be repeated bit for bit.
    """
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else None
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        # AMX adds its tile products to AVX-512's; both are what oneDNN looks for.
        able = torch.cpu.get_capabilities()
        fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    else:
        fast = False
    return torch.bfloat16 if fast else None


def describe(device: torch.device) -> str:
    """The device as a person knows it."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
