"""Data sets as tensors on the device, batches as indices into them."""
