"""CUDA graphs: gradient evaluations and whole steps that are replayed. Nothing here changes a number."""
