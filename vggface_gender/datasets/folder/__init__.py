"""A folder of one's own images, one folder a class."""
