"""Panels of measurements and the straight lines fitted to them, as an SVG that needs nothing to be looked at."""
import math
from html import escape

WIDTH, HEIGHT = 480, 340
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 44, 56
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]
INK, FAINT = "#222222", "#dddddd"


def ticks(most):
    """Round numbers from 0 to just past `most`, about five of them."""
    raw = most / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [step * i for i in range(math.ceil(most / step) + 1)]


def text(x, y, words, anchor="middle", size=12, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{INK}" {more}>'
            f"{escape(words)}</text>")


def line(x1, y1, x2, y2, colour, width=1.0):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def panel(title, x_name, y_name, series):
    """One plot. `series` is a list of {label, points: [(x, y)], slope, intercept}."""
    points = [point for one in series for point in one["points"]]
    xs, ys = ticks(max(x for x, _ in points)), ticks(max(y for _, y in points) * 1.25)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(x, y):
        return LEFT + (right - LEFT) * x / xs[-1], bottom - (bottom - TOP) * y / ys[-1]

    parts = [text(LEFT, 22, title, "start", 14, 'font-weight="600"')]
    for x in xs:
        parts += [line(*at(x, 0), *at(x, ys[-1]), FAINT), text(at(x, 0)[0], bottom + 18, f"{x:,.10g}")]
    for y in ys:
        parts += [line(*at(0, y), *at(xs[-1], y), FAINT), text(LEFT - 8, at(0, y)[1] + 4, f"{y:,.10g}", "end")]
    parts += [line(LEFT, bottom, right, bottom, INK), line(LEFT, TOP, LEFT, bottom, INK)]
    parts.append(text((LEFT + right) / 2, HEIGHT - 14, x_name))
    middle = (TOP + bottom) / 2
    parts.append(text(18, middle, y_name, more=f'transform="rotate(-90 18 {middle:.1f})"'))
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        ends = [(x, one["intercept"] + one["slope"] * x) for x in (min(x for x, _ in one["points"]),
                                                                   max(x for x, _ in one["points"]))]
        parts.append(line(*at(*ends[0]), *at(*ends[1]), colour, 2))
        for point in one["points"]:
            x, y = at(*point)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" fill-opacity="0.6"/>')
        y = TOP + 18 + 18 * number
        parts.append(f'<circle cx="{LEFT + 16}" cy="{y - 4}" r="4" fill="{colour}"/>')
        parts.append(text(LEFT + 26, y, one["label"], "start"))
    return "\n".join(parts)


def write(path, panels):
    """Writes panels, [(title, x_name, y_name, series)], side by side."""
    width = WIDTH * len(panels)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
             f'height="{HEIGHT}" font-family="system-ui, sans-serif">',
             f'<rect width="{width}" height="{HEIGHT}" fill="#ffffff"/>']
    for number, one in enumerate(panels):
        parts += [f'<g transform="translate({WIDTH * number} 0)">', panel(*one), "</g>"]
    path.write_text("\n".join([*parts, "</svg>", ""]))
