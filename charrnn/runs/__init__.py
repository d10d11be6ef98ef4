"""What a training leaves behind: checkpoints, the parameters they hold, and the log of a run."""
