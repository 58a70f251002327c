"""Double-DIP: decomposition of an image into layers, each made by a network of its own."""
