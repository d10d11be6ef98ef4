"""What a training leaves behind: checkpoints, the parameters they hold, and the log of a run."""

BEST, LAST = "model.safetensors", "last.safetensors"
"""The best and the last checkpoint in the folder of a run."""
LOCK = ".lock"
"""The file in the folder of a run that the process that trains it has locked."""
