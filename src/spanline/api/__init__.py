"""What users write by hand: operations, jobs, context, what is current."""
