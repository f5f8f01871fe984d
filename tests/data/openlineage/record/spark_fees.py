"""The Spark job of the recording: CSV files joined and written as Parquet, then as a table, then a job that fails."""

# Runs in an environment of its own.
# pyright: reportMissingImports=false
from __future__ import annotations

import os

from pyspark.sql import SparkSession, functions

namespace, job, run = os.environ["PARENT"].split("/")
root_namespace, root_job, root_run = os.environ["ROOT"].split("/")
conf = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.warehouse.dir": "/tmp/fees/warehouse",
    "spark.jars": os.environ["OPENLINEAGE_SPARK_JAR"],
    "spark.extraListeners": "io.openlineage.spark.agent.OpenLineageSparkListener",
    "spark.openlineage.namespace": "spark",
    "spark.openlineage.transport.type": "file",
    "spark.openlineage.transport.location": os.environ["OPENLINEAGE_SPARK_FILE"],
    "spark.openlineage.parentJobNamespace": namespace,
    "spark.openlineage.parentJobName": job,
    "spark.openlineage.parentRunId": run,
    "spark.openlineage.rootParentJobNamespace": root_namespace,
    "spark.openlineage.rootParentJobName": root_job,
    "spark.openlineage.rootParentRunId": root_run,
}
builder = SparkSession.builder.appName("fees_corpus")
for key, value in conf.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
fees = spark.read.csv("/tmp/fees/raw/fees.csv", header=True, inferSchema=True)
rates = spark.read.csv("/tmp/fees/raw/rates.csv", header=True, inferSchema=True)
joined = fees.join(rates, fees["rate"] == rates["id"]).where(fees["fee"] > 0)
text = functions.concat_ws(" ", fees["name"], functions.lit("costs"), fees["fee"], rates["currency"])
joined.select(fees["id"], text.alias("text")).write.mode("overwrite").parquet("/tmp/fees/lake/corpus")
corpus = spark.read.parquet("/tmp/fees/lake/corpus")
corpus.write.mode("overwrite").saveAsTable("corpus_table")
spark.table("corpus_table").where("id = 1").write.mode("overwrite").json("/tmp/fees/lake/sample")
try:
    bad = functions.udf(lambda value: 1 // 0, "int")
    corpus.select(bad(corpus["id"])).write.mode("overwrite").parquet("/tmp/fees/lake/broken")
except Exception as error:  # noqa: BLE001  (it is of a class of Spark's own)
    print("failed as it should:", type(error).__name__)
spark.stop()
