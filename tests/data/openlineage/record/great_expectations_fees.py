"""The checks of the recording: a table of the database and a file, both with something wrong.

Great Expectations 1.x calls `run` of an action, and OpenLineage's action has `_run` for what 0.x called: so it is called here.
"""

# Runs in an environment of its own.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuite
from openlineage.common.provider.great_expectations.action import OpenLineageValidationAction

context = gx.get_context(mode="ephemeral")


def check(asset: Any, name: str, **options: Any) -> None:
    """Validate an asset and have the action say so."""
    suite = context.suites.add(ExpectationSuite(name))
    validator = context.get_validator(batch_request=asset.build_batch_request(**options), expectation_suite=suite)
    validator.expect_column_values_to_not_be_null("id")
    validator.expect_column_values_to_be_between("fee", min_value=5)
    action = OpenLineageValidationAction(name=name, openlineage_namespace="great_expectations", job_name=name)
    action._run(validator.validate(), None, validator)


tables = context.data_sources.add_postgres("fees", connection_string=os.environ["FEES_DB"])
check(tables.add_table_asset("fees_clean", table_name="fees_clean", schema_name="public"), "fees_clean_suite")
frames = context.data_sources.add_pandas("frames")
check(frames.add_dataframe_asset("raw"), "fees_raw_suite", options={"dataframe": pd.read_csv("/tmp/fees/raw/fees.csv")})
