"""The command line `jaxzoo`. Its first half, `main` and what it reads to answer, never imports jax."""

from jaxzoo.cli.main import main

__all__ = ["main"]
