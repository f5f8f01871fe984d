"""DAGs of the recording: raw data out of a table, Spark, training, and a check that fails.

They stand for what a team has: two tasks write what Airflow sees by itself (a SQL operator, assets), one runs Spark as a
child of its own run, one says what it trained by Airflow's own call, one fails.
"""

# Runs in an environment of its own.
# pyright: reportMissingImports=false, reportOperatorIssue=false
from __future__ import annotations

import json
import os
from pathlib import Path

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.openlineage.api import emit_dataset_lineage
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, dag, task
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import dataset_version_dataset

FEES = Asset("file:///tmp/fees/raw/fees.csv")
RATES = Asset("file:///tmp/fees/raw/rates.csv")
QUESTIONS = Asset("file:///tmp/fees/raw/questions.csv")
RERANKER = Asset("file:///tmp/fees/models/reranker.json")

CLEAN = """
CREATE TABLE fees_clean AS
SELECT f.id, upper(f.name) AS name, f.fee, c.currency FROM core_fees f JOIN currencies c ON c.id = f.currency_id WHERE f.fee > 0
"""
SPARK = "$SPARK_PYTHON $FEES_SCRIPTS/spark_fees.py"
PARENT = {
    "PARENT": "{{ macros.OpenLineageProviderPlugin.lineage_parent_id(task_instance) }}",
    "ROOT": "{{ macros.OpenLineageProviderPlugin.lineage_root_parent_id(task_instance) }}",
}


@dag(
    schedule=None,
    start_date=pendulum.datetime(2026, 11, 1, tz="UTC"),
    catchup=False,
    tags=["fees"],
    description="From raw fees to corpus and model",
)
def fees_daily():
    """Raw data to a corpus (Spark) and to a model (training in a task)."""

    @task(outlets=[FEES, RATES, QUESTIONS])
    def export():
        """Write the raw files."""
        raw = Path("/tmp/fees/raw")
        raw.mkdir(parents=True, exist_ok=True)
        (raw / "fees.csv").write_text("id,name,fee,rate\n1,wire,12,1\n2,card,3,2\n3,atm,-1,1\n")
        (raw / "rates.csv").write_text("id,currency,rate\n1,EUR,1.0\n2,USD,1.1\n")
        (raw / "questions.csv").write_text("question,answer\nWhat does a wire cost?,12\n")

    @task(inlets=[QUESTIONS], outlets=[RERANKER])
    def train():
        """Train a model, and say which version it is."""
        model = Path("/tmp/fees/models/reranker.json")
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_text(json.dumps({"weights": [0.25, 0.5]}))
        version = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion="3")
        emit_dataset_lineage(
            inputs=[InputDataset(namespace="file", name="/tmp/fees/raw/questions.csv")],
            outputs=[OutputDataset(namespace="models", name="fees-reranker", facets={"version": version})],
            raise_on_error=True,
        )

    clean = SQLExecuteQueryOperator(task_id="clean", conn_id="fees_db", sql=["DROP TABLE IF EXISTS fees_clean", CLEAN])
    spark = BashOperator(task_id="corpus", bash_command=SPARK, env={**os.environ, **PARENT}, append_env=True)
    written = export()
    written >> clean >> spark
    written >> train()


@dag(schedule=None, start_date=pendulum.datetime(2026, 11, 1, tz="UTC"), catchup=False, tags=["fees"])
def fees_check():
    """A check that finds something."""

    @task(inlets=[FEES], outlets=[Asset("file:///tmp/fees/raw/checked")])
    def check():
        """Fail as such checks do: with data in the message."""
        raise ValueError("fee of 'atm' is below zero: <script>alert(1)</script>")

    check()


fees_daily()
fees_check()
