"""Training: one loop, and the tasks that run in it."""

from jaxzoo.train.loop import Trained, fit
from jaxzoo.train.needs import Needs, needs
from jaxzoo.train.on_data import on_data
from jaxzoo.train.selection import Selected, keep_best
from jaxzoo.train.supervised import TrainState, distil, supervised
from jaxzoo.train.task import Task

__all__ = [
    "Needs",
    "Selected",
    "Task",
    "TrainState",
    "Trained",
    "distil",
    "fit",
    "keep_best",
    "needs",
    "on_data",
    "supervised",
]
