"""Benchmark as ratios to a floor that is measured beside them, never as times against those of another day."""
