"""ASGI: the middleware that begins and ends a run for every request. It imports no framework."""
