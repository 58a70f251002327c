"""Pure loss functions of arrays, returning scalars; weights are composed outside."""
