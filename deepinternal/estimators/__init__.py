"""What is measured on the host from one image."""
