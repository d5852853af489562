"""Hold data sets as tensors on the device, and draw batches as indices into them."""
