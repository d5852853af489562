"""Benchmarks: ratios against a floor that is measured beside them, never times against yesterday's."""
