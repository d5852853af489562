"""What a user may write: the schema of configurations, its checks, messages, and the names behind the choices."""
