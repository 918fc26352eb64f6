import re

import processes
from report_runs import write_runs


def test_command_writes_a_page_that_needs_no_other_file(tmp_path):
    results, output = write_runs(tmp_path), tmp_path / "out"
    processes.run("bwcr_tf.report", f"--runs_dir={results}", f"--output={output}")
    page, text = ((output / f"report.{end}").read_text("utf-8") for end in ("html", "md"))
    assert len(page) < 5e6
    assert not re.search(r"https?://|<link|<script|url\(", page)
    assert all(
        s.startswith("data:image/png;base64,") for s in re.findall(r'src="([^"]+)', page)
    )
    links = re.findall(r"\]\((.+?\.png)\)", text)
    assert len(links) == page.count("<img") == 5  # Fig. 1, 2, 3, reliability, distance
    assert all((output / link).exists() for link in links)
    for words in ("Table 2, acdc", "Table 1, acdc", "Tests of BWCR, acdc"):
        assert words in page and words in text
    assert "| CR − DA | +0.0 [+0.0, +0.0] | 1.0000 | 1.0000 | −4.8 [−7.5, −2.0] |" in text
    assert "BWCR minus DA: Dice +0.0 [+0.0, +0.0]; ECE −10.0 [−15.0, −5.0]" in text
    assert "| CR | 80.0 ± 0.0 (75 ± 12) | 14.3 ± 4.9 (13 ± 12) |" in text  # without lambda = 10
    assert str(tmp_path) not in text + page
