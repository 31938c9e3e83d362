"""AllAgeFaces."""
