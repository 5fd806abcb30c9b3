"""GLUE's files, written here as its archives have them."""

import numpy as np
import pytest

from jaxzoo.data import GLUE, DataError, glue_tsv

PARSES = "\t".join(f"sentence{i}{kind}" for kind in ("_binary_parse", "_parse") for i in (1, 2))
FILES = {
    "CoLA/train.tsv": ["gj04\t1\t\tHe said \"no.", "gj04\t0\t*\tHim said"],
    "CoLA/test.tsv": ["index\tsentence", "0\tBill left."],
    "SST-2/dev.tsv": ["sentence\tlabel", "a \"fine\u2028film \t1", "dull \t0"],
    "SST-2/test.tsv": ["index\tsentence", "0\tso so"],
    "MRPC/train.tsv": ["\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t7\t8\tA \" b\tB a", "0\t9\t3\tC\tD"],
    "STS-B/dev.tsv": [
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tmain\tMSR\t2012\t1\tnone\tnone\tA plane.\tAn air plane.\t5.000",
        "1\tmain\tMSR\t2012\t4\tnone\tnone\tA man.\tA flute.\t3.800",
    ],
    "QQP/train.tsv": [
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\tHow?\tWhy?\t0",
        "4\t5\t6\tcut off",
        "7\t8\t9\tWho?\tWho is it?\t1",
    ],
    "QQP/test.tsv": ["id\tquestion1\tquestion2", "0\tWhat?\tWhich?"],
    "MNLI/dev_matched.tsv": [
        f"index\tpromptID\tpairID\tgenre\t{PARSES}\tsentence1\tsentence2\tlabel1\tlabel2\tgold_label",
        *(f"{i}\t1\t1e\tfiction\t( a )\t( b )\t(ROOT a)\t(ROOT b)\ta{i}\tb{i}\tx\ty\t{label}"
          for i, label in enumerate(("neutral", "contradiction", "entailment"))),
    ],
    "MNLI/test_mismatched.tsv": [f"index\tpromptID\tpairID\tgenre\t{PARSES}\tsentence1\tsentence2",
                                 "0\t1\t1\tx\t( a )\t( b )\t(ROOT a)\t(ROOT b)\ta\tb"],
    "QNLI/train.tsv": ["index\tquestion\tsentence\tlabel",
              "0\tWhen?\tNow.\tnot_entailment", "1\tWho?\tI.\tentailment"],
    "RTE/train.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tp\tq\tentailment"],
    "WNLI/train.tsv": ["index\tsentence1\tsentence2\tlabel", "0\tp\tq\t1"],
}  # fmt: skip


def write(root, name, lines, end="\n"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + end).encode())
    return path


EXPECTED = [
    ("cola", "train", ['He said "no.', "Him said"], None, [1, 0]),
    ("cola", "test", ["Bill left."], None, None),
    ("sst-2", "dev", ['a "fine\u2028film ', "dull "], None, [1, 0]),
    ("sst-2", "test", ["so so"], None, None),
    ("mrpc", "train", ['A " b', "C"], ["B a", "D"], [1, 0]),
    ("sts-b", "dev", ["A plane.", "A man."], ["An air plane.", "A flute."], [5.0, 3.8]),
    ("qqp", "train", ["How?", "Who?"], ["Why?", "Who is it?"], [0, 1]),
    ("qqp", "test", ["What?"], ["Which?"], None),
    ("mnli", "dev", ["a0", "a1", "a2"], ["b0", "b1", "b2"], [2, 0, 1]),
    ("mnli-mm", "test", ["a"], ["b"], None),
    ("qnli", "train", ["When?", "Who?"], ["Now.", "I."], [1, 0]),
    ("rte", "train", ["p"], ["q"], [0]),
    ("wnli", "train", ["p"], ["q"], [1]),
]


@pytest.mark.parametrize(("task", "part", "first", "second", "labels"), EXPECTED)
def test_parts_of_all_tasks(tmp_path, task, part, first, second, labels):
    for name, lines in FILES.items():
        write(tmp_path, name, lines)
    got = glue_tsv(tmp_path, task, part)
    assert (got.first, got.second) == (first, second)
    if labels is None:
        assert got.labels is None
    else:
        np.testing.assert_array_equal(got.labels, np.array(labels, np.int32 if GLUE[task].classes else np.float32))
    assert got.left_out == (1 if (task, part) == ("qqp", "train") else 0)


def test_a_folder_around_the_tasks_and_windows_newlines(tmp_path):
    write(tmp_path / "glue_data", "RTE/train.tsv", [line + "\r" for line in FILES["RTE/train.tsv"]], end="")
    assert glue_tsv(tmp_path, "rte", "train").second == ["q"]


DAMAGED = [
    ("RTE/train.tsv", ["index\tsentence1\tlabel", "0\tp\tentailment"], "line 1: .* sentence2 is not there"),
    ("RTE/train.tsv", ["index\tsentence1\tsentence2\tlabel"], "expected rows, got none"),
    ("RTE/train.tsv", ["index\tsentence1\tsentence2\tlabel", "0\tp\tq\tyes"], "row 2: expected a label of entailment"),
    ("RTE/train.tsv", ["index\tsentence1\tsentence2\tlabel", "0\tp"], "line 2: expected 4 cells"),
    ("STS-B/train.tsv", ["sentence1\tsentence2\tscore", "a\tb\thigh"], "a score is no number"),
    ("STS-B/train.tsv", ["sentence1\tsentence2\tscore", "a\tb\tnan"], "expected finite scores"),
]


@pytest.mark.parametrize(("name", "lines", "message"), DAMAGED)
def test_damaged_files_are_named(tmp_path, name, lines, message):
    path = write(tmp_path, name, lines)
    with pytest.raises(DataError, match=message) as error:
        glue_tsv(tmp_path, path.parent.name.lower(), "train")
    assert str(path) in str(error.value)


def test_bytes_that_are_no_text_are_damage(tmp_path):
    write(tmp_path, "RTE/train.tsv", [])
    (tmp_path / "RTE" / "train.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="can't be read"):
        glue_tsv(tmp_path, "rte", "train")


def test_missing_files_and_unknown_names(tmp_path):
    with pytest.raises(DataError, match=r"missing file: MNLI/dev_mismatched.tsv or glue_data/MNLI/dev_mismatched.tsv"):
        glue_tsv(tmp_path, "mnli-mm", "dev")
    with pytest.raises(ValueError, match="task: expected one of cola"):
        glue_tsv(tmp_path, "sst", "dev")
    with pytest.raises(ValueError, match="part: expected train, dev or test"):
        glue_tsv(tmp_path, "rte", "validation")
