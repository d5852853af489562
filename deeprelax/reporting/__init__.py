"""Tables and curves out of run directories. Reads files, imports no torch."""
