"""What judges the benchmarks, and what writes their page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plot, report
from benchmarks.bars import GATED, Bar, of_requests
from benchmarks.callgrind import Result


def result(name: str, total: float) -> Result:
    return Result(name, 1, total / 2, total, {"events": 1.0})


@pytest.mark.parametrize(
    ("value", "at_least", "word"),
    [(0.5, False, "goal"), (0.52, False, "held"), (0.72, False, "held"), (0.73, False, "WORSE"), (50, True, "goal"), (0.69, True, "held"), (0.67, True, "WORSE")],
)  # fmt: skip
def test_a_bar(value: float, at_least: bool, word: str) -> None:
    bar = Bar("cost", value, 50 if at_least else 0.5, 0.7, at_least=at_least)
    assert str(bar).startswith(word)
    assert bar.passed is (word != "WORSE")


def test_the_bars_need_what_the_gate_measures() -> None:
    assert of_requests({name: result(name, 1000.0) for name in GATED})


def test_a_section_of_a_page_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- begin: python -m benchmarks x -->\nold\n<!-- end -->\nb\n<!-- end -->\n")
    report.write(page, "x", "new")
    assert page.read_text() == "a\n<!-- begin: python -m benchmarks x -->\nnew\n<!-- end -->\nb\n<!-- end -->\n"
    with pytest.raises(ValueError, match="no section"):
        report.write(page, "y", "new")


def test_the_table_and_the_picture(tmp_path: Path) -> None:
    results = {name: result(name, total) for name, total in (("A", 500_000.0), ("S", 5_000_000.0))}
    assert "| S | spanline, everything on, relay outside | 2,500 | 5,000 | 10.00 | 10.00 |" in report.table(results)
    plot.draw(results, tmp_path / "picture.svg")
    assert "5.00" in (tmp_path / "picture.svg").read_text()


def test_the_page_has_every_section() -> None:
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text()
    for name in ("bars", "requests", "parts", "serving"):
        assert f"<!-- begin: python -m benchmarks {name} -->" in page
