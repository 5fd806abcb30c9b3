"""Theory of neural networks, one module a paper."""
