"""Train deep networks by descending a relaxed loss."""

__version__ = "0.1.0"
