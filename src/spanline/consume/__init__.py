"""Events from a topic into the ledger: the mirror of the relay."""
