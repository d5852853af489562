"""Ways to vary a batch of images, each a function of its draws; `..augment` puts them together."""
