"""What no instrumentation records, one module a system: imported by nobody but those who use the system."""
