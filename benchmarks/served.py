"""The app of the variant `BENCH_VARIANT`, for uvicorn."""

from __future__ import annotations

import os
import warnings

from benchmarks.apps import VARIANTS

warnings.simplefilter("ignore")
app = VARIANTS[os.environ["BENCH_VARIANT"]].build().app
