"""Adience."""
