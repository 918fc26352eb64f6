import pathlib

from bwcr_tf.report import page


def test_markdown_becomes_html():
    assert page.inline("**8 ± 3** (11 ± 10)") == (
        "<strong>8 ± 3</strong><br><small>(11 ± 10)</small>"
    )
    assert page.inline("a < b `c`") == "a &lt; b <code>c</code>"
    assert page.inline("1.2 (3)") == "1.2 <small>(3)</small>"
    assert page.block_html("## A") == "<h2>A</h2>" and page.block_html("A") == "<p>A</p>"


def test_letters_of_markdown_in_a_cell_stay_in_it():
    table = page.Table("T", ["a|b", "<tumour>"], [["1", "2"]], "")
    lines = page.block_markdown(table).splitlines()
    assert lines[2] == "| a\\|b | &lt;tumour> |"


def test_a_figure_of_a_data_set_with_spaces_in_its_name_is_a_link_in_markdown():
    figure = page.Figure(pathlib.Path("figures/shifts_my data (nnunet)_ntr5.png"), "Shown.")
    link = page.block_markdown(figure).splitlines()[0]
    assert link == "![Shown.](figures/shifts_my%20data%20%28nnunet%29_ntr5.png)"
