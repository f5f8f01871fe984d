"""What every module keeps to: a docstring, a size, one guard."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "src" / "spanline").rglob("*.py"))]
MAX_LINES = 300


@pytest.mark.parametrize("path", MODULES)
def test_a_module_says_what_it_is_and_stays_small(path: str) -> None:
    text = (ROOT / path).read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring, f"{path} has no docstring"
    assert docstring.splitlines()[0].rstrip().endswith((".", "?", ":")), f"{path}: the first line is no sentence"
    assert len(text.splitlines()) <= MAX_LINES, f"{path} has more than {MAX_LINES} lines: split it"


@pytest.mark.parametrize("path", MODULES)
def test_blind_excepts_stand_in_the_guard_pass_on_or_give_a_reason(path: str) -> None:
    if path.endswith("/_guard.py"):
        return
    lines = (ROOT / path).read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if not isinstance(node, ast.ExceptHandler) or (
            node.type is not None and ast.unparse(node.type) not in {"Exception", "BaseException"}
        ):
            continue
        passes_on = any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
        around = lines[node.lineno - 2 : node.lineno + 1]
        assert passes_on or any("#" in line for line in around), f"{path}:{node.lineno}: a blind except without a reason"
