"""The curves of docs/performance.md, as SVG, from the JSON that scripts/bench writes."""

import json
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 300, 70, 20, 40, 50
COLORS = ("#1f6fb2", "#c2491d", "#3b7d3a", "#7a4fa0", "#8a6d1a")

# (file, title, x axis, y axis, [(label, experiment, figure with {x}, xs)])
CURVES = [
    (
        "jobs.svg",
        "Jobs a second over graders that finish at once",
        "graders",
        "jobs/s",
        [
            ("runs of 1,000", "jobs", "{x} graders, runs of 1000: jobs/s", (8, 32, 256)),
            ("runs of 50", "jobs", "{x} graders, runs of 50: jobs/s", (8, 32, 256)),
            ("course, HTTP, runs of 1,000", "jobs", "{x} graders, runs of 1000, course-http: jobs/s", (8, 32, 256)),
            ("course, websocket", "jobs", "{x} graders, runs of 1000, course-ws: jobs/s", (8, 32, 256)),
            ("floor at batches of that size", "floor", "jobs/s at batches of {x}", (8, 64, 256)),
        ],
    ),
    (
        "handout.svg",
        "To the job in a grader's hands, over waiting graders",
        "waiting graders",
        "ms",
        [
            ("start, p50", "handout", "{x} waiting: start, p50 ms", (8, 50, 1000, 10000)),
            ("start, p99", "handout", "{x} waiting: start, p99 ms", (8, 50, 1000, 10000)),
            ("result to next job, p50", "handout", "{x} waiting: next, p50 ms", (8, 50, 1000, 10000)),
        ],
    ),
    (
        "backlog.svg",
        "Jobs a second over jobs that are queued",
        "queued jobs",
        "jobs/s",
        [("256 graders", "backlog", "{x} queued: jobs/s", ("1k", "100k", "1M"))],
    ),
]
NUMBERS = {"1k": 1_000, "100k": 100_000, "1M": 1_000_000}


def draw(source, directory):
    """Writes every curve whose figures are there; returns the files."""
    experiments = json.loads(source.read_text(encoding="utf-8"))["experiments"]
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, title, x_title, y_title, rows in CURVES:
        lines = [(label, _points(experiments, *where)) for label, *where in rows]
        lines = [(label, points) for label, points in lines if points]
        if lines:
            path = directory / name
            path.write_text(_svg(title, x_title, y_title, lines), encoding="utf-8")
            written.append(path)
    return written


def _points(experiments, experiment, figure, xs):
    found = experiments.get(experiment, {})
    rows = ((x, found.get(figure.format(x=x))) for x in xs)
    return [(NUMBERS.get(x, x), row["median"], row["min"], row["max"]) for x, row in rows if row]


def _svg(title, x_title, y_title, lines):
    xs = [point[0] for _, points in lines for point in points]
    top = _round_up(max(point[3] for _, points in lines for point in points))
    low, high = math.log10(min(xs)), math.log10(max(xs))

    def place(x, y):
        across = (math.log10(x) - low) / ((high - low) or 1)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{title}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold">{title}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_title}</text>',
        f'<text x="8" y="{TOP - 8}">{y_title}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        _, y = place(min(xs), value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    for x in sorted(set(xs)):
        parts.append(f'<text x="{place(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:,}</text>')
    for number, (label, points) in enumerate(lines):
        parts += _line(label, points, place, COLORS[number], TOP + 8 + 15 * number)
    return "\n".join([*parts, "</svg>", ""])


def _line(label, points, place, color, label_y):
    spots = [place(x, y) for x, y, _, _ in points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    parts = [f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"/>']
    for (x, y), (number, _, least, most) in zip(spots, points, strict=True):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>')
        parts.append(
            f'<path d="M{x:.1f} {place(number, least)[1]:.1f}V{place(number, most)[1]:.1f}" stroke="{color}"/>'
        )
    parts.append(f'<text x="{LEFT + 12}" y="{label_y}" fill="{color}">{label}</text>')
    return parts


def _round_up(value):
    step = 10 ** math.floor(math.log10(value))
    return math.ceil(value / step) * step
