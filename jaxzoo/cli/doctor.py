"""`jaxzoo doctor`."""

import dataclasses
from collections.abc import Sequence

from jaxzoo.cli.options import parse
from jaxzoo.cli.prepare import prepare


@dataclasses.dataclass(frozen=True)
class Options:
    """What this machine has, set up as `jaxzoo run` sets it up.

    Versions, extras, devices, precision and memory settings, data folder, disk, and whether the next process finds
    the programs that one has compiled. Exit code 1 if something is wrong.
    """


def main(words: Sequence[str]) -> int:
    """Prints the examination; returns 1 if something is wrong."""
    parse(Options, words, "doctor")
    prepare(cache=True)
    from jaxzoo.doctor import examine

    wrong = False
    for title, findings in examine():
        print(title)
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            print(f"  {finding.name:<{width}}  {finding.value}", flush=True)
            if finding.problem:
                print(f"  {'':<{width}}  -> {finding.problem}")
        wrong |= title != "extras" and any(finding.problem for finding in findings)
    return int(wrong)
