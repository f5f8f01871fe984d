"""The composition root: settings in, a Runtime out."""
