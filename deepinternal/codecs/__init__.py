"""Images, kernels and videos: read from files and written to them."""
