"""OpenTelemetry side: the span processor that gathers runs, the sampler that does not lose them, the propagator."""
