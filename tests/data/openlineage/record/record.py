"""Record again what is in `../*.ndjson.gz`: runs Airflow (with Spark as a child), Flink and Great Expectations, and takes their events.

Needs a PostgreSQL, a Kafka and Java (`make servers SERVERS="postgres kafka java"`), and in FOLDER:

    airflow/            environment with apache-airflow, its providers openlineage, postgres, standard and common-sql, psycopg2-binary
    spark/              environment with pyspark
    gx/                 environment with great_expectations, openlineage-integration-common, sqlalchemy, psycopg2-binary
    jars/               openlineage-spark_2.13-*.jar
    flink/              jars of flink-clients, flink-connector-base, flink-connector-kafka, openlineage-flink with what they need

    python -m tests.data.openlineage.record.record FOLDER
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers.child import child, eventually, free_port, listens
from tests.servers.stores import Postgres, kafka, postgres

HERE = Path(__file__).resolve().parent
TABLES = """
CREATE TABLE currencies(id int, currency text); INSERT INTO currencies VALUES (1, 'EUR'), (2, 'USD');
CREATE TABLE core_fees(id int, name text, fee numeric, currency_id int); INSERT INTO core_fees VALUES (1, 'wire', 12, 1), (2, 'card', 3, 2);
"""


def main(folder: Path) -> None:
    """Run all and write `../*.ndjson.gz`."""
    shutil.rmtree("/tmp/fees", ignore_errors=True)
    raw = {name: folder / f"{name}.ndjson" for name in ("airflow", "spark", "flink", "great_expectations")}
    for path in raw.values():
        path.unlink(missing_ok=True)
    ports: dict[int, int] = {}
    with postgres() as server:
        database = server.create("fees")
        server.psql(database, TABLES)
        ports[server.port] = 5432
        airflow(folder, server.url(database), raw)
        great_expectations(folder, server, database, raw["great_expectations"])
    for detached in ("false", "true"):
        ports[flink(folder, detached, raw["flink"])] = 9092
    for name, path in raw.items():
        events = [scrubbed(line, folder, ports) for line in path.read_text("utf-8").splitlines()]
        (HERE.parent / f"{name}.ndjson.gz").write_bytes(gzip.compress("\n".join([*events, ""]).encode(), 9, mtime=0))
        print(f"{name}: {len(events)} events")


def scrubbed(line: str, folder: Path, ports: dict[int, int]) -> str:
    """The event without what names the machine it was recorded on: paths, ports, host and user."""
    for path, instead in ((str(HERE), "/opt/fees"), (f"{folder}/dags", "/opt/fees/dags"), (str(folder), "/opt")):
        line = line.replace(path, instead)
    line = re.sub(r"/[\w./-]+/lib/python3", "/usr/lib/python3", line)
    for port, instead in ports.items():
        line = re.sub(rf"(?<=127\.0\.0\.1:){port}\b", str(instead), line)
    line = line.replace("127.0.0.1", "db.example.org")
    line = re.sub(rf'"{re.escape(socket.gethostname())}"', '"worker-1"', line)
    line = re.sub(r'("(?:userName|triggering_user_name)": ?)"[^"]*"', r'\1"fees"', line)
    assert not any(own in line for own in (str(folder), str(Path.home()), str(Path.cwd()))), line
    json.loads(line)
    return line


def airflow(folder: Path, database: str, raw: dict[str, Path]) -> None:
    """Both DAGs, by a real scheduler; the API on loopback only, no triggerer."""
    home, dags, port = folder / "airflow_home", folder / "dags", free_port()
    shutil.rmtree(home, ignore_errors=True)
    dags.mkdir(exist_ok=True)
    shutil.copy(HERE / "airflow_fees.py", dags)
    (jar,) = folder.glob("jars/openlineage-spark*.jar")
    about = {
        "AIRFLOW_HOME": home, "AIRFLOW_CONN_FEES_DB": database, "AIRFLOW__CORE__DAGS_FOLDER": dags, "AIRFLOW__CORE__LOAD_EXAMPLES": False,
        "AIRFLOW__CORE__PARALLELISM": 1, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True, "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": port, "AIRFLOW__API__WORKERS": 1, "AIRFLOW__OPENLINEAGE__NAMESPACE": "airflow",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/", "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 10,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(raw["airflow"]), "append": True}),
        "SPARK_PYTHON": folder / "spark/bin/python", "FEES_SCRIPTS": HERE, "OPENLINEAGE_SPARK_JAR": jar,
        "OPENLINEAGE_SPARK_FILE": raw["spark"], "PATH": f"{folder / 'airflow/bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    environ = {**os.environ, **{key: str(value) for key, value in about.items()}}

    def said(*arguments: str) -> str:
        done = subprocess.run([folder / "airflow/bin/airflow", *arguments], env=environ, capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else ""

    assert said("db", "migrate")
    with contextlib.ExitStack() as stack:
        for part, ready in (("api-server", lambda: listens(port)), ("dag-processor", lambda: True), ("scheduler", lambda: True)):
            stack.enter_context(child([str(folder / "airflow/bin/airflow"), part], folder, environ, f"airflow-{part}", ready, 120))
        for dag in ("fees_daily", "fees_check"):
            eventually(lambda dag=dag: said("dags", "unpause", dag), 120, "the DAG is not read")
            assert said("dags", "trigger", dag)
        eventually(lambda: ended(raw["airflow"]) >= {"fees_daily", "fees_check"}, 400, "the DAGs do not end")


def ended(path: Path) -> set[str]:
    """Names of the jobs that ended."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    events: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {event["job"]["name"] for event in events if event["eventType"] in ("COMPLETE", "FAIL")}


def great_expectations(folder: Path, server: Postgres, database: str, raw: Path) -> None:
    """The checks, in one process."""
    transport = json.dumps({"type": "file", "log_file_path": str(raw), "append": True})
    environ = {**os.environ, "FEES_DB": server.url(database), "OPENLINEAGE__TRANSPORT": transport, "GX_ANALYTICS_ENABLED": "False"}
    subprocess.run([folder / "gx/bin/python", HERE / "great_expectations_fees.py"], env=environ, check=True)


def flink(folder: Path, detached: str, raw: Path) -> int:
    """The Flink job; attached, its listener never hears of the end. Returns the port of Kafka."""
    classes = folder / "flink_classes"
    subprocess.run(["javac", "-cp", f"{folder}/flink/*", "-d", classes, HERE / "FlinkFees.java"], check=True)
    with kafka() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        for topic in admin.create_topics([NewTopic("fees.raw", 1, 1), NewTopic("fees.priced", 1, 1)]).values():
            topic.result()
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for value in ("wire,12", "card,3"):
            producer.produce("fees.raw", value)
        producer.flush()
        opens = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "lang")]
        command = [
            "java",
            "-Xmx700m",
            *opens,
            "-cp",
            f"{classes}:{folder}/flink/*",
            "FlinkFees",
            broker.bootstrap,
            str(raw),
            str(free_port()),
        ]
        environ = {**os.environ, "DETACHED": detached}
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, env=environ, timeout=300, check=False)
    return int(broker.bootstrap.rpartition(":")[2])


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
