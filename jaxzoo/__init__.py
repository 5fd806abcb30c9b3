"""jaxzoo: papers as pure functions in JAX, with an experiment and machine-checked claims for each.

Importing this package imports nothing else: `jaxzoo list` answers without loading jax. Reach for the parts by name,
`from jaxzoo.model import Model`, `from jaxzoo.transforms import ntk`.
"""

__version__ = "0.1.0"
