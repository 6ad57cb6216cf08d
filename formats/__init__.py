"""File formats and their written specification. Needs neither torch nor click."""
