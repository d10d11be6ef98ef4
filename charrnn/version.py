"""The version; here, because all modules may import this one."""

__version__ = "0.1.0"
