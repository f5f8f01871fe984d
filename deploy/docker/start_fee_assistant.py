"""Start the fee assistant in a container: documents and prompt, the index, the model's process, then the service.

Environment: `FEE_ASSISTANT_HOME` (writable), `FEE_ASSISTANT_INDEX` (label of the index), `FEE_ASSISTANT_MODEL_URL` (a model elsewhere;
without it one is started here), `HOST`, `PORT`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import uvicorn

SOURCE = Path(__file__).resolve().parents[2] / "examples" / "fee_assistant"


def prepare(home: Path) -> None:
    """Documents and prompt, where there are none yet: a volume keeps what somebody changed."""
    for name in ("corpus", "prompts"):
        if not (home / name).exists():
            shutil.copytree(SOURCE / name, home / name)


def build_index(home: Path, label: str) -> None:
    """Run the offline job, where no index is there."""
    if not (home / "index").exists():
        command = [sys.executable, str(SOURCE / "build_index.py"), "--corpus", str(home / "corpus"), "--index", str(home / "index")]
        subprocess.run([*command, "--label", label], check=True)


def start_model() -> tuple[subprocess.Popen[str], str]:
    """The model as a child; it ends when its standard input does, which is when this process ends. Returns it and its address."""
    model = subprocess.Popen([sys.executable, str(SOURCE / "model.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert model.stdout is not None
    address = model.stdout.readline().strip()
    if not address:
        raise SystemExit(f"the model did not start: exit status {model.wait()}")
    return model, address


def main() -> None:
    """All of it, in order; then serve until SIGTERM."""
    home = Path(os.environ.setdefault("FEE_ASSISTANT_HOME", "var")).resolve()
    label = os.environ.setdefault("FEE_ASSISTANT_INDEX", "2026-11-01")
    home.mkdir(parents=True, exist_ok=True)
    prepare(home)
    build_index(home, label)
    model = None
    if not os.environ.get("FEE_ASSISTANT_MODEL_URL"):
        model, os.environ["FEE_ASSISTANT_MODEL_URL"] = start_model()
    sys.path.insert(0, str(SOURCE))
    try:
        # In a container its own address is all there is; who may come in is said outside.
        uvicorn.run("service:app", host=os.environ.get("HOST", "0.0.0.0"), port=int(os.environ.get("PORT", "8000")), log_level="warning")  # noqa: S104
    finally:
        if model is not None and model.stdin is not None:
            model.stdin.close()
            model.wait(10)


if __name__ == "__main__":
    main()
