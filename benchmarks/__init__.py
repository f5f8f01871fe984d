"""What spanline costs, as ratios to what an app costs without it or with other instrumentation: `python -m benchmarks`."""
