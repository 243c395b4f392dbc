"""Draws panels somewhat as Grafana would, from their own settings and real data: a preview where no Grafana is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

Series = tuple[dict[str, str], list[tuple[float, float]]]
Panel = dict[str, Any]
Asked = Callable[[str], list[Series]]
"""Query, with the panel's variables filled in -> its series over the time that is drawn."""

GROUND, SURFACE, EDGE, TEXT, DIM, GRID = "#0b0c0e", "#181b1f", "#2a2d33", "#d8d9da", "#8e9199", "#25282d"
COLORS = {
    "green": "#56a64b", "red": "#e0384b", "orange": "#ff9830", "blue": "#5794f2", "text": "#a6a8ad",
    "purple": "#b877d9",
}  # fmt: skip
PALETTE = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0", "#96d98d")
COLUMN, LINE = 70, 30
"""Pixels of one column and of one line of the grid."""
_DPI = 100

mpl.rcParams.update({"font.family": "DejaVu Sans", "text.color": TEXT, "axes.edgecolor": EDGE, "font.size": 8})


def told(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in its unit."""
    if math.isnan(value) or math.isinf(value):
        return "-"
    match unit:
        case "dtdurations" | "s":
            return _span(value)
        case "percentunit":
            return f"{100 * value:.{2 if decimals is None else decimals}f} %"
        case "bytes":
            return f"{value / 2**20:.0f} MiB"
        case "reqps":
            return f"{value:.1f} req/s" if value else "0 req/s"
        case _:
            return f"{value:.0f}" if abs(value - round(value)) < 0.01 or decimals == 0 else f"{value:.2f}"


def _span(value: float) -> str:
    if value < 1:
        return f"{1000 * value:.0f} ms"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.0f} {name}" if value % size < size / 60 else f"{value / size:.1f} {name}"
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def legend(target: Panel, labels: dict[str, str]) -> str:
    """What a series is called."""
    form = target.get("legendFormat", "")
    if form == "__auto":
        return ", ".join(f"{key}={text}" for key, text in labels.items() if key != "__name__") or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form).strip()


class Frame(NamedTuple):
    """What is drawn of one panel and where: its settings, its targets with their series; pixels from the top left."""

    panel: Panel
    defaults: Panel
    data: list[tuple[Panel, list[Series]]]
    x: float
    y: float
    w: float
    h: float


class Page:
    """One dashboard's picture."""

    def __init__(
        self, dashboard: Panel, asked: Asked, notes: Sequence[tuple[float, str]], begin: float, end: float
    ) -> None:
        """``notes``: (when, colour) of the annotations. Single numbers are as of the end."""
        self._asked, self._notes, self._begin, self._instant = asked, notes, begin, end
        self._lines = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"]) + 2
        self._width, self._height = 24 * COLUMN + 16, self._lines * LINE + 16
        self.figure = Figure(figsize=(self._width / _DPI, self._height / _DPI), dpi=_DPI, facecolor=GROUND)
        self._write(14, 34, dashboard["title"], size=15, weight="bold")
        self._write(14, 56, dashboard["description"], size=9, color=DIM)
        for panel in dashboard["panels"]:
            self._draw(panel)

    def save(self, path: str) -> None:
        """As PNG."""
        self.figure.savefig(path, facecolor=GROUND)

    # ------------------------------------------------------------------------------------------------ the surface

    def _write(self, x: float, y: float, text: str, *, size: float = 8, color: str = TEXT, **more: Any) -> None:
        text = text.replace("$", r"\$")
        self.figure.text(x / self._width, 1 - y / self._height, text, size=size, color=color, **more)

    def _axes(self, x: float, y: float, w: float, h: float) -> Axes:
        axes = self.figure.add_axes((x / self._width, 1 - (y + h) / self._height, w / self._width, h / self._height))
        axes.set_facecolor(SURFACE)
        return axes

    def _box(self, x: float, y: float, w: float, h: float, color: str) -> None:
        axes = self._axes(x, y, w, h)
        axes.set_axis_off()
        box = FancyBboxPatch((0, 0), 1, 1, boxstyle="square,pad=0", facecolor=color, edgecolor=EDGE, linewidth=1.0)
        axes.add_patch(box)

    def _draw(self, panel: Panel) -> None:
        at = panel["gridPos"]
        x, y = 8 + at["x"] * COLUMN, 8 + (at["y"] + 2) * LINE
        w, h = at["w"] * COLUMN, at["h"] * LINE
        if panel["type"] == "row":
            self._write(x + 4, y + 21, f"⌄  {panel['title']}", size=11, weight="bold")
            return
        kind = panel["type"]
        defaults = panel["fieldConfig"]["defaults"]
        data = [
            (target, [each for each in self._asked(target["expr"]) if each[1]]) for target in panel["targets"]
        ]  # fmt: skip
        color = SURFACE
        if kind == "stat" and panel["options"]["colorMode"] == "background":
            color = _shown(self._now(data), defaults)[1]
        self._box(x + 3, y + 3, w - 6, h - 6, color)
        self._write(x + 12, y + 21, panel["title"].replace("$secret", "All"), size=9, weight="bold")
        frame = Frame(panel, defaults, data, x + 12, y + 30, w - 24, h - 42)
        getattr(self, f"_{kind.replace('-', '')}")(frame)

    def _nothing(self, text: str, x: float, y: float, w: float, h: float) -> None:
        good = COLORS["green"] if "good" in text else DIM
        self._write(x + w / 2, y + h / 2, text, size=9, color=good, ha="center", va="center")

    def _now(self, data: list[tuple[Panel, list[Series]]]) -> list[tuple[dict[str, str], float]]:
        """The series that are there at the moment of the single numbers."""
        found = []
        for _, series in data:
            found += [(labels, values[-1][1]) for labels, values in series if values[-1][0] >= self._instant - 0.6]
        return found

    # ------------------------------------------------------------------------------------------- kinds of panels

    def _stat(self, frame: Frame) -> None:
        panel, defaults, data, x, y, w, h = frame
        now = self._now(data)
        text, color = _shown(now, defaults)
        if panel["options"]["textMode"] == "name" and now:
            text = legend(data[0][0], now[0][0])
        on_ground = panel["options"]["colorMode"] == "background"
        size = min(0.5 * h, 1.05 * w / max(len(text), 2), 64 if on_ground else 30)
        self._write(
            x + w / 2, y + h / 2, text, size=size, color="white" if on_ground else color, ha="center", va="center",
            weight="bold",
        )  # fmt: skip

    def _table(self, frame: Frame) -> None:
        panel, defaults, data, x, y, w, h = frame
        rows = self._now(data)
        if not rows:
            return self._nothing(defaults["noValue"], x, y, w, h)
        if "sort_desc" in data[0][0]["expr"]:
            rows.sort(key=lambda row: -row[1])
        order = panel["transformations"][1]["options"]
        named = sorted(order["indexByName"], key=order["indexByName"].get)
        shown = [name for name in named if name == "Value" or any(labels.get(name) for labels, _ in rows)]
        settings = {name: _override(panel, order["renameByName"][name]) for name in shown}
        free = w - sum(settings[name].get("custom.width", 0) for name in shown)
        lefts = [name for name in shown if "custom.width" not in settings[name]]
        left = x
        for name in shown:
            wide = settings[name].get("custom.width") or max(free / max(len(lefts), 1), 90)
            mono = name in ("explain", "command")
            fits = max(3, int(wide / (7.0 if mono else 6.1)))
            self._write(left, y + 14, order["renameByName"][name][:fits], size=8, color="#6e9fff", weight="bold")
            for number, (labels, value) in enumerate(rows[: int((h - 22) / 22)]):
                text = told(value, settings[name].get("unit", "none"), 0) if name == "Value" else labels.get(name, "")
                text = _mapped(text, settings[name].get("mappings", []))[0]
                text = text if len(text) <= fits else text[: fits - 1] + "…"
                fixed = settings[name].get("color", {}).get("fixedColor")
                color = COLORS.get(fixed, TEXT) if fixed else "#6e9fff" if settings[name].get("links") else TEXT
                family = "DejaVu Sans Mono" if mono else "DejaVu Sans"
                self._write(left, y + 38 + 22 * number, text, size=8, color=color, family=family)
            left += wide
        return None

    def _timeseries(self, frame: Frame) -> None:
        panel, defaults, data, x, y, w, h = frame
        if not any(series for _, series in data):
            return self._nothing(defaults.get("noValue", "No data"), x, y, w, h)
        axes = self._axes(x + 46, y + 4, w - 54, h - 46)
        custom = defaults.get("custom", {})
        curves: list[tuple[str, list[tuple[float, float]], Panel]] = []
        for target, series in data:
            curves += [(n := legend(target, labels), values, _override(panel, n)) for labels, values in series]
        stacked = custom.get("stacking", {}).get("mode") == "normal"
        times = sorted({at for _, values, _ in curves for at, _ in values})
        base = [0.0] * len(times)
        for number, (name, values, own) in enumerate(curves):
            fixed = own.get("color", {}).get("fixedColor")
            color = COLORS.get(fixed, PALETTE[number % len(PALETTE)]) if fixed else PALETTE[number % len(PALETTE)]
            known = dict(values)
            tops = [known.get(at, math.nan) for at in times]
            if "custom.lineStyle" in own:
                axes.plot(times, tops, color=color, linestyle="--", linewidth=1.2, label=name)
            elif stacked:
                upper = [low + (0 if math.isnan(top) else top) for low, top in zip(base, tops, strict=True)]
                axes.fill_between(times, base, upper, color=color, alpha=0.55, step="post", linewidth=0)
                axes.step(times, upper, color=color, where="post", linewidth=1.1, label=name)
                base = upper
            else:
                axes.plot(times, tops, color=color, linewidth=1.6, label=name)
        unit = defaults["unit"]
        if custom.get("scaleDistribution", {}).get("type") == "log":
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.08)
            if axes.get_ylim()[1] < 1.01:
                axes.set_ylim(top=max(1.0, axes.get_ylim()[1]) if unit in ("none", "short", "reqps") else None)
        axes.yaxis.set_major_formatter(lambda value, _: told(value, unit, 0 if unit == "percentunit" else None))
        axes.yaxis.set_minor_formatter(lambda value, _: "")
        for at, note in self._notes:
            axes.axvline(at, color=COLORS[note], linewidth=0.8, linestyle=":", alpha=0.8)
        self._finish(axes)
        handles, names = axes.get_legend_handles_labels()
        most = max(2, int(w / 110))
        axes.legend(
            handles[:most], names[:most], loc="upper left", bbox_to_anchor=(-0.01, -0.13), ncols=most, frameon=False,
            fontsize=7.5, labelcolor=TEXT, handlelength=1.1, columnspacing=1.2, borderaxespad=0,
        )  # fmt: skip
        return None

    def _finish(self, axes: Axes) -> None:
        axes.set_axisbelow(True)
        axes.grid(color=GRID, linewidth=0.7)
        axes.tick_params(colors=DIM, labelsize=7, length=0)
        axes.set_xlim(self._begin, self._instant)
        axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(6))
        axes.xaxis.set_major_formatter(lambda at, _: datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S"))
        for side in axes.spines.values():
            side.set_visible(False)

    def _heatmap(self, frame: Frame) -> None:
        _, defaults, data, x, y, w, h = frame
        series = sorted(
            ((float(labels["le"]), dict(values)) for labels, values in data[0][1]), key=lambda pair: pair[0]
        )
        times = sorted({at for _, values in series for at in values})
        cells, below = [], dict.fromkeys(times, 0.0)
        for _, values in series:
            cells.append([max(values.get(at, 0) - below[at], 0) for at in times])
            below = {at: values.get(at, 0) for at in times}
        used = [number for number, row in enumerate(cells) if any(cell > 0.01 for cell in row)]
        if not used:
            return self._nothing(defaults["noValue"], x, y, w, h)
        low, high = max(used[0] - 3, 0), min(used[-1] + 3, len(cells) - 1)
        picked = [[cell if cell > 0.01 else math.nan for cell in row] for row in cells[low : high + 1]]
        axes = self._axes(x + 46, y + 4, w - 54, h - 26)
        most = max(cell for row in cells for cell in row)
        step = times[1] - times[0] if len(times) > 1 else 1
        edges = [at - step for at in times] + [times[-1]]
        axes.pcolormesh(
            edges, range(len(picked) + 1), picked, cmap="YlOrRd_r", norm=LogNorm(0.2, max(most, 1)), edgecolors=SURFACE,
            linewidth=0.4,
        )  # fmt: skip
        axes.set_yticks([number + 0.5 for number in range(len(picked))])
        names = [_span(le) if math.isfinite(le) else "longer" for le, _ in series[low : high + 1]]
        axes.set_yticklabels([f"≤ {name}" for name in names])
        self._finish(axes)
        return None

    def _bargauge(self, frame: Frame) -> None:
        _, defaults, data, x, y, w, h = frame
        rows = sorted(((legend(data[0][0], labels), value) for labels, value in self._now(data)), key=lambda r: -r[1])
        if not rows:
            return self._nothing(defaults["noValue"], x, y, w, h)
        tall = min(34.0, h / len(rows))
        axes = self._axes(x, y, w, h)
        axes.set_axis_off()
        axes.set_xlim(0, w)
        axes.set_ylim(h, 0)
        for number, (name, value) in enumerate(rows[: int(h / tall)]):
            top = number * tall + 6
            axes.text(0, top + tall / 2 - 4, name, size=8.5, va="center")
            room = w - 260
            axes.barh(top + tall / 2 - 4, room * value / rows[0][1], left=200, height=tall - 10, color=COLORS["blue"])
            axes.text(
                w - 6, top + tall / 2 - 4, told(value, "none", 0), size=10, va="center", ha="right", weight="bold"
            )
        return None

    def _statetimeline(self, frame: Frame) -> None:
        _, defaults, data, x, y, w, h = frame
        bands = [(legend(target, labels), values) for target, series in data for labels, values in series]
        if not bands:
            return self._nothing("No data", x, y, w, h)
        axes = self._axes(x + 150, y + 4, w - 158, h - 46)
        for number, (_, values) in enumerate(bands):
            for (at, value), (after, _) in zip(values, [*values[1:], (values[-1][0] + 0.5, 0)], strict=True):
                color = _mapped(f"{value:g}", defaults["mappings"])[1] or "text"
                axes.barh(number, after - at, left=at, height=0.7, color=COLORS[color])
        axes.set_yticks(range(len(bands)))
        axes.set_yticklabels([name[:26] for name, _ in bands])
        axes.set_ylim(-0.8, len(bands) - 0.2)
        self._finish(axes)
        left = x
        for option in defaults["mappings"][0]["options"].values():
            self._write(left, y + h - 4, "■", size=8, color=COLORS[option["color"]])
            self._write(left + 14, y + h - 4, option["text"], size=7.5)
            left += 30 + 7 * len(option["text"])
        return None


def _override(panel: Panel, name: str) -> Panel:
    """The settings of one field by its name."""
    found: Panel = {}
    for override in panel["fieldConfig"].get("overrides", []):
        matcher = override["matcher"]
        fits = matcher["options"] == name
        if matcher["id"] == "byRegexp":
            fits = re.fullmatch(str(matcher["options"]), name) is not None
        if fits:
            found |= {each["id"]: each["value"] for each in override["properties"]}
    return found


def _mapped(text: str, mappings: Sequence[Panel]) -> tuple[str, str]:
    """A value's text and colour; the colour is empty where no mapping gives one."""
    for mapping in mappings:
        options = mapping["options"]
        if mapping["type"] == "value" and text in options:
            return str(options[text].get("text", text)), str(options[text].get("color", ""))
        number = re.fullmatch(r"-?\d+(\.\d+)?", text)
        if mapping["type"] == "range" and number and options["from"] <= float(text) <= options["to"]:
            return str(options["result"]["text"]), str(options["result"]["color"])
    return text, ""


def _shown(now: list[tuple[dict[str, str], float]], defaults: Panel) -> tuple[str, str]:
    """Text and colour of a single number."""
    steps = defaults["thresholds"]["steps"]
    if not now:
        return defaults["noValue"], COLORS["green" if defaults["noValue"] in ("0", "none") else "text"]
    value = now[0][1]
    color = [step["color"] for step in steps if step.get("value") is None or value >= step["value"]][-1]
    text, mapped = _mapped(f"{value:g}", defaults.get("mappings", []))
    if text == f"{value:g}":
        text = told(value, defaults["unit"], defaults.get("decimals"))
    return text, COLORS[mapped or color]
