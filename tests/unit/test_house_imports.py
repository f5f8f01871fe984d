"""`import spanline` is cheap, and imports go down only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "spanline"
HEAVY = (
    "fastapi", "starlette", "sqlalchemy", "alembic", "openlineage", "opentelemetry.exporter", "jinja2", "click", "yaml", "uvicorn", "rich",
    "requests", "httpx", "pydantic", "lancedb", "numpy", "pytest",
)  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print('\\n'.join(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "src")})
    return set(done.stdout.split())


def heavy(modules: set[str]) -> list[str]:
    return sorted(name for name in modules if any(name == h or name.startswith(h + ".") for h in HEAVY))


def test_import_spanline_loads_nothing_heavy() -> None:
    modules = loaded_by("import spanline")
    assert heavy(modules) == []
    assert len(modules) < 150


def test_the_asgi_room_loads_no_framework() -> None:
    modules = loaded_by("import spanline.asgi.middleware")
    assert [name for name in heavy(modules) if name.split(".")[0] in {"fastapi", "starlette", "sqlalchemy", "jinja2", "click"}] == []


def test_the_command_line_starts_without_server_or_sdk() -> None:
    modules = loaded_by("import spanline.cli.main")
    assert [name for name in heavy(modules) if name.split(".")[0] != "click"] == []
    assert "opentelemetry.sdk" not in modules


def test_layers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [str(p.relative_to(ROOT)) for p in sorted(PACKAGE.rglob("*.py"))])
def test_no_module_imports_the_facade(path: str) -> None:
    if path == "src/spanline/__init__.py":
        return
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        assert not (isinstance(node, ast.ImportFrom) and node.module == "spanline"), f"{path}:{node.lineno}"
        assert not (isinstance(node, ast.Import) and any(alias.name == "spanline" for alias in node.names)), path
