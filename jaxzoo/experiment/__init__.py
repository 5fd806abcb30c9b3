"""The contract between a paper's experiment and everything around it. Importing it does not import jax."""

from jaxzoo.experiment.declare import Claim, ContractError, Oracle, Paper, setting

__all__ = ["Claim", "ContractError", "Oracle", "Paper", "setting"]
