"""CoNLL files: comments, separators, CoNLL-U; a word is a word whatever it begins with."""

from __future__ import annotations

import pytest

from kdrec import tasks
from kdrec.errors import DataError
from kdrec.tasks.conll import read_conll


def read(tmp_path, text, name="rows.conll", **more):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_conll(path, **more)


def words(found):
    return [row.texts for row in found.rows]


COMMENTS = {
    "of other columns": "# id 0\tdomain=en\nAna _ _ B-PER\nsat _ _ O\n\n# id 1\tdomain=en\nBo _ _ B-PER\n",
    "of as many columns": "# id 0 domain=en\nAna _ _ B-PER\nsat _ _ O\n\n# id 1 domain=en\nBo _ _ B-PER\n",
    "of two, as the words": "# newpar\nAna\tB-PER\nsat\tO\n\n# newpar\nBo\tB-PER\n",
    "between spaces": "# newpar\nAna B-PER\nsat O\n\n# newpar\nBo B-PER\n",
    "a setting that ends like a tag": "# text = O\nAna x y B-PER\nsat x y O\n\n# text = O\nBo x y B-PER\n",
    "without a space": "#begin document\nAna B-PER\nsat O\n\n#sent_id=2\nBo B-PER\n",
    "Windows": "# newdoc\r\nAna\tB-PER\r\nsat\tO\r\n\r\n# newdoc\r\nBo\tB-PER\r\n",
    "several": "# a\n# b = O\nAna O\nsat O\n\n\nBo O\n",
}


@pytest.mark.parametrize("what", COMMENTS)
def test_comment_lines_are_no_words_and_are_counted(tmp_path, what):
    found = read(tmp_path, COMMENTS[what])
    assert words(found) == [("Ana", "sat"), ("Bo",)]
    assert found.notes == ("2 comment lines (beginning with '#') were skipped",)
    assert {tag for row in found.rows for tag in row.tags} <= {"B-PER", "O"}


@pytest.mark.parametrize(
    "text",
    [
        "#\tSYM\n5\tNUM\n",
        "#fun HT\nAna NN\n",
        "#fun\tO\n#\tO\nAna\tO\n",
        "Ana O\n#fun O\n# O\n",
        "# # O\nNo NN O\n",
        "# #\na DT\n",
    ],
)
def test_a_word_may_begin_with_the_sign_of_a_comment(tmp_path, text):
    found = read(tmp_path, text)
    assert not found.notes
    assert sum(map(len, words(found))) == len(text.strip().split("\n"))


def test_a_line_of_other_columns_inside_of_a_sentence_is_refused_by_its_number(tmp_path):
    with pytest.raises(DataError, match=r"rows.conll, line 2: 2 columns .* were expected as in the other lines, got 3"):
        read(tmp_path, "Ana O\n#fun and O\nBo O\n")


def test_only_tabs_part_columns_where_there_are_tabs_and_no_break_spaces_part_none(tmp_path):
    spaced = ("10\u00a0000", "New York", "a\u3000b", "x\u2009y")
    found = read(tmp_path, "".join(f"{word}\tNN\tO\n" for word in spaced))
    assert words(found) == [spaced]
    joined = ("10\u00a0000", "a\u3000b", "x\u2009y", "l\u2028m")
    assert words(read(tmp_path, "".join(f"{word} NN O\n" for word in joined))) == [joined]


def test_blank_columns_and_columns_aligned_by_tabs_are_read(tmp_path):
    assert words(read(tmp_path, "Ana\t\t\tO\nsat\t\t\tO\n")) == [("Ana", "sat")]
    assert words(read(tmp_path, "Ana\t\t\tO\nfirmament\tO\n")) == [("Ana", "firmament")]
    assert words(read(tmp_path, "-DOCSTART- -X- -X- O\n\nAna -X- _ O\n")) == [("Ana",)]
    with pytest.raises(DataError, match=r"rows.conll, line 2: a tag is empty"):
        read(tmp_path, "Ana\tNN\tO\nsat\tVB\t\n")
    with pytest.raises(DataError, match=r"rows.conll, line 2: a word is empty"):
        read(tmp_path, "Ana\tNN\tO\n\tVB\tO\n")


UNIVERSAL = """\
# sent_id = 1
# text = vámonos al mar
1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tvamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\tSpaceAfter=No
3\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_
3.1\tfui\tir\tVERB\t_\t_\t_\t_\t_\t_

"""


@pytest.mark.parametrize("name", ["rows.conll", "rows.conllu"])
def test_universal_dependencies_are_read_by_form_and_universal_tag(tmp_path, name):
    found = read(tmp_path, UNIVERSAL * 2, name)
    assert words(found) == [("vamos", "nos", "mar")] * 2
    assert found.rows[0].tags == ("VERB", "PRON", "NOUN")
    assert found.lines == (4, 12)
    assert found.notes == (
        "4 comment lines (beginning with '#') were skipped",
        "4 lines of multiword ranges or empty nodes were skipped",
    )


def test_a_file_of_universal_dependencies_is_a_task_that_says_what_it_left_out(tmp_path):
    rows = "".join(UNIVERSAL.replace("mar\tmar", f"mar{at}\tmar") for at in range(60))
    (tmp_path / "rows.conllu").write_text(rows, encoding="utf-8")
    task = tasks.load_file(tmp_path / "rows.conllu", text="tokens", label="tags")
    assert (task.labels, task.metric) == (("NOUN", "PRON", "VERB"), "accuracy")
    assert "120 comment lines (beginning with '#') were skipped" in task.notes


def test_a_first_column_that_counts_is_named(tmp_path):
    text = "1\tAna\tB-PER\n2\tsat\tO\n\n1\tBo\tB-PER\n"
    with pytest.raises(DataError, match=r"rows.conll: the first column counts the words of each sentence; a file of 3"):
        read(tmp_path, text)


def test_words_alone_are_enough_where_no_tags_are_wanted(tmp_path):
    assert words(read(tmp_path, "# a comment\nAna\nsat\n\nBo\n", tagged=False)) == [("Ana", "sat"), ("Bo",)]
