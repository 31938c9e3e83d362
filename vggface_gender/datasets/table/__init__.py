"""A table of one's own images and their labels."""
