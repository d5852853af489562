"""One module for each command. torch is imported when a command starts its work, not before."""
