"""What is read from the disk: the data sets, their catalogue, and how their files get there."""
