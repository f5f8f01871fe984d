"""Testing: what checks events and apps in tests; nothing here is imported by an app."""
