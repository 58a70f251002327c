"""From a list of inputs to results in a work folder."""
