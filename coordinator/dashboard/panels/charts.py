"""What the charts of the page have in common: colours for light and dark, axes, and how often they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nicegui import ui


class Colours(NamedTuple):
    """The colours of a chart; `training` and `held_out` differ in lightness too."""

    ink: str
    line: str
    training: str
    held_out: str
    mark: str
    steps: tuple[str, ...]


LIGHT = Colours("#1b2430", "#d6dde5", "#005caf", "#c95400", "#8a94a1", ("#d6dde5", "#005caf", "#f0aa00", "#c95400"))
DARK = Colours("#e7ecf3", "#343e4d", "#5fb2ff", "#ff9e4a", "#8a94a1", ("#343e4d", "#5fb2ff", "#ffd65c", "#ff9e4a"))


def colours_of(dark: bool) -> Colours:
    """Return the colours for light or dark."""
    return DARK if dark else LIGHT


def axis(colours: Colours, **more: Any) -> dict[str, Any]:
    """Return an axis."""
    return {
        "axisLabel": {"color": colours.ink, "hideOverlap": True},
        "axisLine": {"lineStyle": {"color": colours.mark}},
        "splitLine": {"lineStyle": {"color": colours.line}},
        "nameTextStyle": {"color": colours.ink, "align": "left"},
        **more,
    }


def chart(name: str) -> ui.echart:
    """Return an empty chart; `name` is what a screen reader says."""
    return ui.echart({}).classes("chart").props(f'role=img aria-label="{name}"')


def lines(
    colours: Colours,
    title: str,
    series: Sequence[tuple[str, str, Sequence[Sequence[float | None]]]],
    marks: Sequence[Any],
    span: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the options of a chart of numbers over steps: each series has a name, a colour and points. `span` are
    the limits of the vertical axis."""
    made: list[dict[str, Any]] = [
        {
            "name": name,
            "type": "line",
            "data": points,
            "showSymbol": len(points) < 3,
            "symbolSize": 5,
            "lineStyle": {"width": 2, "type": "dashed" if index else "solid", "color": colour},
            "itemStyle": {"color": colour},
        }
        for index, (name, colour, points) in enumerate(series)
    ]
    if made and marks:
        made[0]["markLine"] = {
            "symbol": "none",
            "silent": False,
            "lineStyle": {"color": colours.mark, "type": "dotted", "width": 1.5},
            "label": {"show": False},
            "emphasis": {"label": {"show": True, "color": colours.ink, "formatter": "{b}"}},
            "data": [{"name": f"step {step:,}: {word}", "xAxis": step} for step, word in marks],
        }
    return {
        "animation": False,
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "title": {"text": title, "left": 0, "top": 0, "textStyle": {"fontSize": 13, "color": colours.ink}},
        "legend": {"right": 0, "top": 0, "textStyle": {"color": colours.ink}, "itemHeight": 8}
        if len(made) > 1
        else {"show": False},
        "grid": {"left": 50, "right": 14, "top": 30, "bottom": 24},
        "tooltip": {"trigger": "axis"},
        "xAxis": axis(colours, type="value", min="dataMin", max="dataMax"),
        "yAxis": axis(colours, type="value", splitNumber=3, **span),
        "series": made,
    }


def show(made: ui.echart, options: dict[str, Any]) -> None:
    """Replace what a chart shows."""
    made.options.clear()
    made.options.update(options)
    made.update()
