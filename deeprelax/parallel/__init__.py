"""Processes: ranks of one run, jobs on devices of their own, and the signals that reach them."""
