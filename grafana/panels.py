"""The kinds of panels that the dashboards are made of, each with the house's settings, by Grafana's own builders."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as build
from grafana_foundation_sdk.builders import dashboard as made
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
RUNBOOK = "${runbooks:raw}/%s.md"
GREEN, RED, AMBER, BLUE, GREY = "green", "red", "orange", "blue", "text"
GOOD = "No data: that is good"

Builder = stat.Panel | table.Panel | timeseries.Panel | heatmap.Panel | bargauge.Panel | statetimeline.Panel
_Builder = TypeVar(
    "_Builder", stat.Panel, table.Panel, timeseries.Panel, heatmap.Panel, bargauge.Panel, statetimeline.Panel
)


class About(NamedTuple):
    """What every panel has. ``alerts``: those that page for what it shows; their runbooks are its links."""

    title: str
    description: str
    unit: str = "short"
    alerts: tuple[str, ...] = ()


class Ask(NamedTuple):
    """One query, and how its series are called."""

    expr: str
    legend: str = "__auto"


class Column(NamedTuple):
    """One column of a table: the label, or ``Value``; its heading; its width in pixels, or as much as there is."""

    label: str
    heading: str
    width: int = 0
    unit: str = ""
    link: str = ""
    words: Mapping[str, str] = {}
    color: str = ""


def _of(panel: _Builder, about: About) -> _Builder:
    # Stable, also when panels are moved: links and annotations refer to it.
    panel.id(zlib.crc32(about.title.encode()) % 1_000_000 + 1)
    links: list[made.DashboardLink] = [
        made.DashboardLink(f"Runbook: {alert}")
        .type(dashboard.DashboardLinkType.LINK)
        .url(RUNBOOK % alert)
        .target_blank(True)
        for alert in about.alerts
    ]
    panel.title(about.title).description(about.description).datasource(SOURCE).unit(about.unit)
    if links:
        panel.links([*links])
    return panel


def _query(ask: Ask, ref: int, *, instant: bool = False, shape: PromQueryFormat | None = None) -> Dataquery:
    query = Dataquery().datasource(SOURCE).expr(ask.expr).legend_format(ask.legend).ref_id(chr(ord("A") + ref))
    query = query.instant() if instant else query.range()
    return query.format(shape or PromQueryFormat.TIME_SERIES)


def _steps(*steps: tuple[float | None, str]) -> made.ThresholdsConfig:
    values = [dashboard.Threshold(value=value, color=color) for value, color in steps]
    return made.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(values)


def words(texts: Mapping[str, tuple[str, str]]) -> dashboard.ValueMap:
    """Value -> its text and colour."""
    return dashboard.ValueMap(
        options={
            value: dashboard.ValueMappingResult(text=text, color=color or None, index=number)
            for number, (value, (text, color)) in enumerate(texts.items())
        }
    )


def between(least: float | None, most: float, text: str, color: str) -> dashboard.RangeMap:
    """A range of values -> its text and colour."""
    result = dashboard.ValueMappingResult(text=text, color=color, index=9)
    return dashboard.RangeMap(options=dashboard.DashboardRangeMapOptions(from_val=least, to=most, result=result))


def number(
    about: About,
    ask: Ask,
    *steps: tuple[float | None, str],
    mappings: Sequence[dashboard.ValueMapping] = (),
    none: str = "0",
    big: bool = False,
    decimals: int | None = None,
    name: bool = False,
) -> stat.Panel:
    """One number, coloured by what it is. ``big``: on a coloured ground. ``name``: the series' name in its place."""
    panel = (
        _of(stat.Panel(), about)
        .with_target(_query(ask, 0, instant=True))
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(common.BigValueColorMode.BACKGROUND if big else common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.NAME if name else common.BigValueTextMode.VALUE)
        .justify_mode(common.BigValueJustifyMode.CENTER)
        .thresholds(_steps(*(steps or ((None, GREY),))))
        .no_value(none)
    )
    if mappings:
        panel.mappings([*mappings])
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def rows(about: About, ask: Ask, columns: Sequence[Column], *, none: str = GOOD) -> table.Panel:
    """A table of the series that there are now: a row each, a column for each label that is named, in this order."""
    panel = _of(table.Panel(), about).with_target(_query(ask, 0, instant=True, shape=PromQueryFormat.TABLE))
    panel.no_value(none).cell_height(common.TableCellHeight.SM).filterable(True)
    arranged = {
        "indexByName": {column.label: place for place, column in enumerate(columns)},
        "renameByName": {column.label: column.heading for column in columns},
    }
    kept = {"include": {"names": [column.label for column in columns]}}
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="filterFieldsByName", options=kept))
    panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=arranged))
    for column in columns:
        if properties := _properties(column):
            panel.override_by_name(column.heading, properties)
    return panel


def _properties(column: Column) -> list[dashboard.DynamicConfigValue]:
    told: dict[str, object] = {}
    if column.width:
        told["custom.width"] = column.width
    if column.unit:
        told["unit"] = column.unit
    if column.link:
        told["links"] = [{"title": "Runbook: ${__value.text}", "url": column.link, "targetBlank": True}]
    if column.words:
        told["mappings"] = [words({value: (text, "") for value, text in column.words.items()}).to_json()]
    if column.color:
        told["color"] = {"mode": "fixed", "fixedColor": column.color}
        told["custom.cellOptions"] = {"type": "color-text"}
    return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in told.items()]


def lines(
    about: About,
    asks: Sequence[Ask],
    *,
    bars: bool = False,
    stacked: bool = False,
    limit: str = "",
    colors: Mapping[str, str] = {},
    none: str = "No data",
    log: bool = False,
) -> timeseries.Panel:
    """Curves, or bars. ``limit``: the legend of the series that is a limit; it is drawn as a dashed line.

    ``colors``: a pattern of the legend -> the colour.
    """
    panel = _of(timeseries.Panel(), about).min(0).no_value(none)
    for place, ask in enumerate(asks):
        panel.with_target(_query(ask, place))
    panel.draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
    panel.fill_opacity(60 if bars else 15).line_width(1 if bars else 2).show_points(common.VisibilityMode.NEVER)
    panel.legend(_legend())
    panel.tooltip(build.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    if stacked:
        panel.stacking(build.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if log:
        panel.scale_distribution(build.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10))
    if limit:
        dashed = {"fill": "dash", "dash": [8, 6]}
        panel.override_by_name(limit, _values({
            "custom.lineStyle": dashed, "custom.fillOpacity": 0, "custom.stacking": {"mode": "none"},
            "color": {"mode": "fixed", "fixedColor": RED},
        }))  # fmt: skip
    for pattern, color in colors.items():
        panel.override_by_regexp(pattern, _values({"color": {"mode": "fixed", "fixedColor": color}}))
    return panel


def heat(about: About, ask: Ask) -> heatmap.Panel:
    """A heat map of a histogram: time to the right, the buckets upwards, darker where fewer fell."""
    query = _query(ask, 0, shape=PromQueryFormat.HEATMAP).legend_format("{{le}}")
    return (
        _of(heatmap.Panel(), about)
        .with_target(query)
        .calculate(False)
        .color(_scale())
        .y_axis(heatmap.YAxisConfig().unit(about.unit).decimals(0))
        .cell_values(heatmap.CellValues().unit("short").decimals(0))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .cell_gap(1)
        .no_value("No rotation in this time")
    )


def _scale() -> heatmap.HeatmapColorOptions:
    """The scale of a heat map."""
    options = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges")
    return options.exponent(0.5).steps(64).reverse(False)


def bars(about: About, ask: Ask, *, none: str = GOOD) -> bargauge.Panel:
    """A bar for each series, as long as its number."""
    return (
        _of(bargauge.Panel(), about)
        .with_target(_query(ask, 0, instant=True))
        .reduce_options(build.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .thresholds(_steps((None, BLUE)))
        .min(0)
        .decimals(0)
        .no_value(none)
    )


def states(about: About, asks: Sequence[Ask], texts: Mapping[str, tuple[str, str]]) -> statetimeline.Panel:
    """A band for each series, coloured by its value. ``texts``: value -> its text and colour."""
    panel = _of(statetimeline.Panel(), about)
    for place, ask in enumerate(asks):
        panel.with_target(_query(ask, place))
    panel.mappings([words(texts)]).thresholds(_steps((None, GREY))).show_value(common.VisibilityMode.NEVER)
    panel.legend(_legend())
    return panel.row_height(0.8).fill_opacity(80)


def _legend() -> build.VizLegendOptions:
    listed = build.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    return listed.placement(common.LegendPlacement.BOTTOM).show_legend(True).calcs([])


def _values(told: Mapping[str, object]) -> list[dashboard.DynamicConfigValue]:
    return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in told.items()]
