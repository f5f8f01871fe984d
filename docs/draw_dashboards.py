"""Draw the pictures of the boards: `python docs/draw_dashboards.py` (needs `make servers` and the group `pictures`).

A service is run through a small incident for four minutes, with Prometheus and Jaeger beside it; each panel is drawn from its own queries, in
its own place. These are no screenshots of Grafana: colours and letters differ, numbers do not.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import httpx
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from spanline.deploy.generate import boards
from tests.board_stand import RARE, Stand, stand
from tests.servers.observability import Jaeger, jaeger

CELL_W, CELL_H = 0.46, 0.3
PAPER, INK, FAINT = "#ffffff", "#1f2430", "#8a90a0"
COLORS = ["#3d71d9", "#e0752d", "#3a9a5b", "#b877d9", "#c4162a", "#7a8a99", "#d9a514", "#1f9e9e"]
NAMED = {"green": "#3a9a5b", "yellow": "#d9a514", "red": "#c4162a"}
BAD = [kind for kind in RARE if "index" in kind or "prompt" in kind or kind.get("guard_says") == "fail"]
MILD = [{"fail": "model"}, {"guard_says": "fail"}, {"slow": 2.0}, {"guard_says": "skip"}]


STORES: list[Jaeger] = []


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "jaeger").mkdir()
        with jaeger(Path(folder) / "jaeger") as store:
            STORES.append(store)
            with stand(Path(folder), BOARD_SPEED="2", OTEL_EXPORTER_OTLP_ENDPOINT=store.otlp_http) as service:
                began = time.time()
                service.once()
                for seconds, rare, kinds in ((100, 0.06, MILD), (90, 0.65, BAD + MILD), (50, 0.15, RARE)):
                    with service.traffic(5, rare, kinds):
                        time.sleep(seconds)
                for uid, board in boards().items():
                    draw(service, board, began + 15, time.time(), ROOT / "docs" / "pictures" / f"{uid}.png")


def draw(service: Stand, board: dict[str, Any], start: float, end: float, path: Path) -> None:
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"])
    plt.rcParams.update(
        {"font.size": 6, "text.color": INK, "axes.edgecolor": "#d5d8e0", "axes.labelcolor": INK, "xtick.color": FAINT, "ytick.color": FAINT}
    )
    figure = plt.figure(figsize=(24 * CELL_W, (rows + 1) * CELL_H), facecolor=PAPER)
    figure.text(0.008, 1 - 0.55 / (rows + 1), board["title"], fontsize=11, weight="bold", va="center")
    for panel in board["panels"]:
        place = panel["gridPos"]
        top = 1 - (place["y"] + 1) / (rows + 1)
        if panel["type"] == "row":
            figure.text(0.008, top - 0.6 / (rows + 1), panel["title"], fontsize=8, weight="bold", color="#50576a", va="center")
            continue
        left, width, height = place["x"] / 24, place["w"] / 24, place["h"] / (rows + 1)
        figure.text(left + 0.008, top - 0.55 / (rows + 1), panel["title"], fontsize=7, weight="bold", va="center")
        small = panel["type"] in {"stat", "table", "text"}
        axes = figure.add_axes(
            (
                left + (0.008 if small else 0.034),
                top - height + 0.95 / (rows + 1),
                width - (0.016 if small else 0.045),
                height - 2.1 / (rows + 1),
            )
        )
        {"timeseries": lines, "stat": number, "heatmap": heat, "state-timeline": states, "table": cells, "text": words}[panel["type"]](
            axes, panel, service, start, end
        )
    figure.savefig(path, dpi=120, facecolor=PAPER)
    plt.close(figure)


def asked(expr: str) -> str:
    for macro, value in {"$__rate_interval": "15s", "$__range": "4m", "$job": ".*", "$route": ".*"}.items():
        expr = expr.replace(macro, value)
    return expr


def legend(target: dict[str, Any], labels: dict[str, str]) -> str:
    text = target["legendFormat"]
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), text).strip()


def series(service: Stand, target: dict[str, Any], start: float, end: float) -> list[tuple[str, dict[str, str], list[float], list[float]]]:
    found = service.prometheus.get("query_range", query=asked(target["expr"]), start=start, end=end, step=2)["result"]
    return [
        (legend(target, one["metric"]), one["metric"], [at - start for at, _ in one["values"]], [float(v) for _, v in one["values"]])
        for one in found
    ]


def lines(axes: Axes, panel: dict[str, Any], service: Stand, start: float, end: float) -> None:
    custom, unit = panel["fieldConfig"]["defaults"]["custom"], panel["fieldConfig"]["defaults"]["unit"]
    drawn = [one for target in panel["targets"] for one in series(service, target, start, end)]
    drawn = sorted(drawn, key=lambda one: -max([v for v in one[3] if v == v], default=0))[:8]
    if custom["stacking"]["mode"] == "normal" and drawn:
        moments = sorted({at for one in drawn for at in one[2]})
        heights = [[dict(zip(one[2], one[3], strict=True)).get(at, 0.0) for at in moments] for one in drawn]
        axes.stackplot(moments, heights, colors=COLORS, alpha=0.55, labels=[one[0] for one in drawn])
    else:
        for place, (name, _, moments, values) in enumerate(drawn):
            axes.plot(moments, values, color=COLORS[place % len(COLORS)], linewidth=0.9, label=name)
    dots = [
        exemplar
        for target in panel["targets"]
        if target["exemplar"]
        for exemplar in service.prometheus.exemplars(asked(target["expr"]), end - start)
    ]
    if dots:
        dots = _some(dots)
        top = axes.get_ylim()[1]
        # A counter's dot has no height of its own: Grafana puts it at its value, which is a count.
        heights = [float(dot["value"]) if unit == "s" else top * 0.97 for dot in dots]
        axes.scatter([float(dot["timestamp"]) - start for dot in dots], heights, marker="D", s=4, color="#2f9e44", zorder=3, linewidths=0)
    if custom["thresholdsStyle"]["mode"] == "line":
        axes.axhline(
            panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"], color=NAMED["red"], linewidth=0.6, linestyle="--"
        )
    axes.set_xlim(0, end - start)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, unit))
    _time(axes)
    if drawn:
        axes.legend(
            loc="upper left",
            fontsize=4.6,
            frameon=True,
            framealpha=0.75,
            edgecolor="none",
            borderpad=0.2,
            labelspacing=0.15,
            handlelength=1,
        )
    else:
        axes.text(0.5, 0.5, panel["fieldConfig"]["defaults"].get("noValue", "no data"), transform=axes.transAxes, ha="center", color=FAINT)


def number(axes: Axes, panel: dict[str, Any], service: Stand, start: float, end: float) -> None:
    axes.axis("off")
    defaults = panel["fieldConfig"]["defaults"]
    found = service.prometheus.query(asked(panel["targets"][0]["expr"]), end)
    values = [float(one["value"][1]) for one in found]
    text = "   ".join(shown(value, defaults["unit"]) for value in values) if values else defaults["noValue"]
    steps = defaults["thresholds"]["steps"]
    color = next((step["color"] for step in reversed(steps) if values and (step["value"] is None or values[0] >= step["value"])), "green")
    filled = panel["options"]["colorMode"] == "background" and values
    axes.add_patch(
        plt.Rectangle((0, 0), 1, 1, transform=axes.transAxes, color=NAMED.get(color, "#eef0f4") if filled else "#eef0f4", clip_on=False)
    )
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", fontsize=13, weight="bold", color="#ffffff" if filled else INK
    )


def heat(axes: Axes, panel: dict[str, Any], service: Stand, start: float, end: float) -> None:
    target = panel["targets"][0]
    found = sorted(series(service, target, start, end), key=lambda one: float(one[1]["le"]))
    moments = sorted({at for one in found for at in one[2]})
    rows = [[dict(zip(one[2], one[3], strict=True)).get(at, 0.0) for at in moments] for one in found]
    each = [rows[0], *([max(0.0, high - low) for high, low in zip(above, below, strict=True)] for below, above in pairwise(rows))]
    axes.imshow(each, aspect="auto", origin="lower", cmap="Blues", extent=(moments[0], moments[-1], 0, len(each)), interpolation="nearest")
    axes.set_yticks([place + 0.5 for place in range(len(found))], [one[1]["le"] for one in found], fontsize=4.5)
    dots = _some(service.prometheus.exemplars(asked(target["expr"]), end - start))
    bounds = [float(one[1]["le"]) for one in found]
    heights = [next(place for place, bound in enumerate(bounds) if float(dot["value"]) <= bound) + 0.5 for dot in dots]
    axes.scatter([float(dot["timestamp"]) - start for dot in dots], heights, marker="D", s=4, color="#c2255c", zorder=3, linewidths=0)
    axes.set_xlim(0, end - start)
    _time(axes)


def states(axes: Axes, panel: dict[str, Any], service: Stand, start: float, end: float) -> None:
    found = series(service, panel["targets"][0], start, end)
    for place, (_, _, moments, values) in enumerate(found):
        axes.broken_barh(
            [(at, 2.0) for at, value in zip(moments, values, strict=True) if value], (place + 0.15, 0.7), color="#a9d8b8", linewidth=0
        )
        axes.text(2, place + 0.5, found[place][0], va="center", fontsize=5.5)
    axes.set_yticks([])
    axes.set_ylim(0, max(1, len(found)))
    axes.set_xlim(0, end - start)
    _time(axes)


def cells(axes: Axes, panel: dict[str, Any], service: Stand, start: float, end: float) -> None:
    axes.axis("off")
    if "expr" not in panel["targets"][0]:
        _rows(axes, ["Trace ID (link to the run page)", "Name", "Duration"], _traces(panel["targets"][0], end), (0.0, 0.55, 0.8))
        return
    options = panel["transformations"][0]["options"]
    columns = sorted((name for name in options["renameByName"]), key=options["indexByName"].get)
    found = service.prometheus.query(asked(panel["targets"][0]["expr"]), end)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    rows = [[shown(float(one["value"][1]), unit) if name == "Value" else one["metric"].get(name, "") for name in columns] for one in found]
    if not rows:
        axes.text(0.0, 0.9, panel["fieldConfig"]["defaults"]["noValue"], color=FAINT, transform=axes.transAxes)
        return
    titles = [options["renameByName"][name] for name in columns]
    widths = {"kind": (0.0, 0.2, 0.72), "alertname": (0.0, 0.52, 0.72), "job": (0.0, 0.4, 0.75)}
    _rows(axes, titles, rows, widths.get(columns[0], tuple(place / len(columns) for place in range(len(columns)))))


def _traces(target: dict[str, Any], end: float) -> list[list[str]]:
    """As Grafana's Jaeger data source asks, with what the board's variables hold at first (but a smaller *slow*)."""
    asked = {"service": "fee-assistant", "limit": 10, "start": int((end - 600) * 1e6), "end": int(end * 1e6)}
    asked |= {"minDuration": "1800ms"} if target["minDuration"] else {"tags": json.dumps({"http.response.status_code": "500"})}
    found = httpx.get(f"{STORES[0].url}/api/traces", params=asked).json()["data"] or ()
    roots = [max(trace["spans"], key=lambda span: span["duration"]) for trace in found]
    return [[root["traceID"], root["operationName"], f"{root['duration'] / 1e6:.2f} s"] for root in roots]


def _rows(axes: Axes, titles: list[str], rows: list[list[str]], places: tuple[float, ...]) -> None:
    height = min(0.16, 1 / (len(rows) + 1))
    for line, row in enumerate([titles, *rows]):
        for where, text in zip(places, row, strict=True):
            weight = "bold" if line == 0 else "normal"
            axes.text(where, 1 - (line + 0.5) * height, text, va="center", weight=weight, transform=axes.transAxes, fontsize=5.5)


def words(axes: Axes, panel: dict[str, Any], service: Stand, start: float, end: float) -> None:
    axes.axis("off")
    text = panel["options"]["content"].replace("**", "").replace("*", "").split("](")[0].replace("[", "")
    axes.text(0, 1, "\n".join(_wrapped(text, 40)), va="top", transform=axes.transAxes, fontsize=5)


def _some(dots: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(dots, key=lambda dot: dot["timestamp"])[:: max(1, len(dots) // 150)]


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    return [line for part in text.splitlines() for line in textwrap.wrap(part, width)]


def _time(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(lambda value, _: f"{int(value) // 60}:{int(value) % 60:02d}")
    axes.grid(visible=True, axis="y", color="#eceef3", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=5)


def shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    if unit == "bytes":
        return f"{value / 1024:.0f} kB"
    if unit == "currencyUSD":
        return f"${value:.2f}"
    if unit == "dateTimeAsLocal":
        return time.strftime("%H:%M:%S", time.gmtime(value / 1000))
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


if __name__ == "__main__":
    main()
