"""The relay: carries journalled events to their consumers, at least once and in order per run."""
