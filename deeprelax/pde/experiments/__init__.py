"""One experiment for each `deeprelax pde COMMAND`, in files that begin with its name."""
