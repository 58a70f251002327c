"""Pages and charts of what a run has written."""
