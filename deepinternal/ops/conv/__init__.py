"""Convolutions: one function, `convolution.conv2d`, and the forms in which it is computed."""
