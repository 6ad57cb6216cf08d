"""The way there: audio -> codes -> packets."""
