"""Networks for images, one module a paper."""
