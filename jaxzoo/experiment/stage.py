"""One named stage of a run: where it is stored, how far it is, what it cost."""

import dataclasses
from pathlib import Path
from typing import Any

from jaxzoo.experiment import checkpoint

STORED = ("name", "kind", "total", "step", "compile_seconds", "run_seconds", "failures")


@dataclasses.dataclass
class Stage:
    """A stage under way.

    Attributes:
      name: "group/arm".
      kind: "train", "map" or "each".
      total: updates (train), seeds (each), or 1 (map).
      folder: of its checkpoints, or None to store nothing.
      step: how far it is.
      stored_whole: whether its checkpoint holds the end of it.
      compile_seconds, run_seconds: spent so far, runs that were resumed counted in.
      earlier_seconds: how much of both was spent in runs that this one resumes.
      failures: seeds that left the finite numbers, as `{"stage", "seed", "step", "scalar"}`.
    """

    name: str
    kind: str
    total: int
    folder: Path | None
    step: int = 0
    stored_whole: bool = False
    compile_seconds: float = 0.0
    run_seconds: float = 0.0
    earlier_seconds: float = 0.0
    failures: list[dict] = dataclasses.field(default_factory=list)

    def restore(self, like: Any) -> Any:
        """Takes up what is stored of the stage; returns the stored tree, or None if there is nothing."""
        restored = None if self.folder is None else checkpoint.restore(self.folder, like)
        if restored is None:
            return None
        for field in STORED:
            setattr(self, field, restored.meta[field])
        self.earlier_seconds = self.compile_seconds + self.run_seconds
        self.stored_whole = self.step == self.total
        return restored.tree

    def save(self, tree: Any) -> None:
        """Stores the stage as it stands, if the run is stored at all."""
        if self.folder is not None:
            checkpoint.save(self.folder, self.step, tree, {field: getattr(self, field) for field in STORED})

    def summary(self) -> dict:
        """What the record says of the stage."""
        return {field: getattr(self, field) for field in ("name", "kind", "total", "compile_seconds", "run_seconds")}
