"""Predictions tables, and the figures computed from them."""
