"""What can come out of a claim, and how it is shown. Light, so that the command line reads it in milliseconds."""

import enum


class Verdict(enum.StrEnum):
    """What came out of a claim; `jaxzoo.experiment.claims` has the rule. In order from best to no result."""

    REPRODUCED = "reproduced"
    PARTIAL = "partial"
    INCONCLUSIVE = "inconclusive"
    NOT_REPRODUCED = "not reproduced"
    CONTRADICTED = "contradicted"
    FULL_SCALE_ONLY = "full scale only"
    VOID = "void"

    @property
    def symbol(self) -> str:
        """One character, so that no verdict is told by its colour alone."""
        return SYMBOLS[self]

    @property
    def meaning(self) -> str:
        """One line for readers of a report."""
        return MEANINGS[self]


SYMBOLS = {
    Verdict.REPRODUCED: "✓",
    Verdict.PARTIAL: "◐",
    Verdict.INCONCLUSIVE: "?",
    Verdict.NOT_REPRODUCED: "✗",
    Verdict.CONTRADICTED: "⇄",
    Verdict.FULL_SCALE_ONLY: "△",
    Verdict.VOID: "∅",
}

MEANINGS = {
    Verdict.REPRODUCED: "the whole interval reaches the bound that was set before the run",
    Verdict.PARTIAL: "the effect is there, but it may be smaller than the margin",
    Verdict.INCONCLUSIVE: "the interval is too wide to tell",
    Verdict.NOT_REPRODUCED: "the whole interval misses the bound",
    Verdict.CONTRADICTED: "the effect is there with the opposite sign, at least as large as the margin",
    Verdict.FULL_SCALE_ONLY: "no run of this size can check it",
    Verdict.VOID: "a check of the run itself failed, so nothing can be said",
}
