"""The life of a run: started, resumed or skipped, and put together from its configuration."""
