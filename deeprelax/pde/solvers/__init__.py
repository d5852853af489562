"""Solvers of the equations on grids."""
