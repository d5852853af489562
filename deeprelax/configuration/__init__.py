"""Compose and check configurations: schema, ranges, error messages, and the classes behind the choices."""
