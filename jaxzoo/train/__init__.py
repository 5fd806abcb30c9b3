"""Training: one loop, and the tasks that run in it."""

from jaxzoo.train.task import Task

__all__ = ["Task"]
