"""Run the commands, one module each. torch is imported when a command starts its work, so that --help is fast."""
