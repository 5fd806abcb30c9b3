"""The table of papers as Markdown, made from the committed records, and its place in a file such as the README."""

from collections.abc import Iterable
from pathlib import Path

from jaxzoo.cli.errors import UsageError
from jaxzoo.experiment.discover import Head
from jaxzoo.experiment.files import StorageError
from jaxzoo.experiment.progress import duration
from jaxzoo.experiment.report import Entry
from jaxzoo.experiment.verdict import Verdict

BEGIN, END = "<!-- papers: made by jaxzoo list --markdown README.md -->", "<!-- end of papers -->"


def papers_table(shown: Iterable[tuple[Head, Entry]]) -> str:
    """One line a paper: its title with a link to its experiment, each claim with its verdict, the time of that run."""
    lines = ["| paper | field | claims | run |", "| --- | --- | --- | --- |"]
    used = set()
    for head, entry in shown:
        claims = entry.record["claims"] if entry.record else []
        used |= {claim["verdict"] for claim in claims}
        marks = " ".join(f"{claim['id']}&nbsp;{Verdict(claim['verdict']).symbol}" for claim in claims) or "no record"
        time = duration(float(entry.record["seconds"]["wall"])) if entry.record else ""
        title = f"[{head.paper.title}](experiments/{head.field}/{head.slug}.py) ({head.paper.year})"
        lines.append(f"| {title} | {head.field} | {marks} | {time} |")
    legend = ", ".join(f"{verdict.symbol} {verdict}" for verdict in Verdict if verdict in used)
    return "\n".join([*lines, "", *([legend] if used else [])])


def put_into(path: Path, table: str) -> None:
    """Puts the table where a file has the two comments for it.

    Raises:
      UsageError: there is no such file, or it lacks the comments. StorageError: it can't be written.
    """
    if not path.is_file():
        raise UsageError(f"--markdown: {path} is not a file")
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or END not in text.partition(BEGIN)[2]:
        raise UsageError(
            f"--markdown: expected in {path} the lines\n  {BEGIN}\n  {END}\nand the table comes between them"
        )
    before, _, rest = text.partition(BEGIN)
    try:
        path.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"could not write {path}: {error.strerror}") from error
