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
def test_blind_excepts_stand_in_the_guard_or_give_a_reason(path: str) -> None:
    if path.endswith("/_guard.py"):
        return
    lines = (ROOT / path).read_text().splitlines()
    for node in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}):
            around = lines[node.lineno - 2 : node.lineno + 1]
            assert any("#" in line for line in around), f"{path}:{node.lineno}: a blind except without a reason"
