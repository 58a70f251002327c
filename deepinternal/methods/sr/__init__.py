"""What super-resolution methods are made of."""
