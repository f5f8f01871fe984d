"""The run record: what one run was, and which artifacts it used."""
