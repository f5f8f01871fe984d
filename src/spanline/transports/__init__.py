"""Transports: where events are sent; one attempt each, everything about trying again is the relay's."""
