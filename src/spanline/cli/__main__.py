"""`python -m spanline.cli`."""

from __future__ import annotations

from spanline.cli.main import main

main(prog_name="spanline")
