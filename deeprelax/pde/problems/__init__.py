"""Functions to relax, with what is known of them in closed form."""
