"""charrnn: a character-level recurrent text generator for the shell."""

__version__ = "0.1.0"
