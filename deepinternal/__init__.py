"""Deep internal learning in JAX: networks trained at test time, on one image alone."""
