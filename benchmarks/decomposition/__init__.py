"""Decompositions with a known truth, by our methods and by other packages; see `__main__`."""
