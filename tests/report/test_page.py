from bwcr_tf.report import page


def test_markdown_becomes_html():
    assert page.inline("**8 ± 3** (11 ± 10)") == (
        "<strong>8 ± 3</strong><br><small>(11 ± 10)</small>"
    )
    assert page.inline("a < b `c`") == "a &lt; b <code>c</code>"
    assert page.inline("1.2 (3)") == "1.2 <small>(3)</small>"
    assert page.block_html("## A") == "<h2>A</h2>" and page.block_html("A") == "<p>A</p>"
