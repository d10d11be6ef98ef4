"""Training, the only room that imports torch."""
