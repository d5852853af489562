"""Compare runs by the files in their directories: tables, exports, curves. Imports no torch."""
