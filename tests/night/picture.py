"""One night in three orders, as SVG: who had the graders, and how long the submissions of each course waited."""

WIDTH, ROW, LEFT, PLOT, TOP = 860, 190, 60, 470, 50
BARS = LEFT + PLOT + 70
GROUPS = (
    ("course-0, weight 1000", (0,), "#1f6fb2"),
    ("course-1, weight 100", (1,), "#c2491d"),
    ("course-2, endless loops", (2,), "#555555"),
    ("course-3, flooded", (3,), "#7a4fa0"),
    ("the eight others", tuple(range(4, 12)), "#3b7d3a"),
)
TITLES = {
    "shares": "Broadway: shares by virtual time",
    "turns": "Turns: the courses in rotation",
    "fifo": "First come, first served",
}
GRADERS = 60


def draw(nights):
    """The SVG of nights with curves, one row each."""
    height = TOP + ROW * len(nights) + 4
    end_ms = max(night["curves"][-1]["at_ms"] for night in nights)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        'font-size="11" role="img" aria-label="One night of a deadline in three orders">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, (label, _, color) in enumerate(GROUPS):
        x = LEFT + number * 160
        parts.append(f'<rect x="{x}" y="8" width="10" height="10" fill="{color}"/>')
        parts.append(f'<text x="{x + 14}" y="17">{label}</text>')
    longest = max(row["wait_p95_s"] for night in nights for row in night["courses"])
    for number, night in enumerate(nights):
        parts += _row(night, TOP + number * ROW, end_ms, longest)
    parts.append(f'<text x="{LEFT + PLOT / 2}" y="{height - 8}" text-anchor="middle">minutes; deadline at 60</text>')
    return "\n".join([*parts, "</svg>", ""])


def _row(night, top, end_ms, longest):
    bottom = top + ROW - 50
    parts = [f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{TITLES[night["order"]]}: graders at work</text>']
    parts.append(f'<text x="{BARS}" y="{top - 6}" font-weight="bold">wait, p95, minutes</text>')

    def place(at_ms, graders):
        return LEFT + at_ms / end_ms * PLOT, bottom - graders / GRADERS * (ROW - 60)

    floor = [0] * len(night["curves"])
    for _, courses, color in GROUPS:
        roof = [
            below + sum(point["running"][course] for course in courses)
            for below, point in zip(floor, night["curves"], strict=True)
        ]
        times = [point["at_ms"] for point in night["curves"]]
        spots = [place(at, value) for at, value in zip(times, roof, strict=True)]
        spots += [place(at, value) for at, value in zip(reversed(times), reversed(floor), strict=True)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        parts.append(f'<path d="M{path}Z" fill="{color}" fill-opacity="0.85"/>')
        floor = roof
    deadline, _ = place(3_600_000, 0)
    parts.append(f'<path d="M{deadline:.1f} {top}V{bottom}" stroke="black" stroke-dasharray="4 3"/>')
    for minutes in range(0, int(end_ms // 60_000) + 1, 20):
        x, _ = place(minutes * 60_000, 0)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{minutes}</text>')
    for graders in (0, 30, 60):
        _, y = place(0, graders)
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{graders}</text>')
    return parts + _bars(night, top, longest)


def _bars(night, top, longest):
    parts = []
    room = WIDTH - BARS - 60
    for number, (_, courses, color) in enumerate(GROUPS):
        waits = [night["courses"][course]["wait_p95_s"] for course in courses]
        wait = sum(waits) / len(waits)
        y = top + 6 + number * 24
        parts.append(f'<rect x="{BARS}" y="{y}" width="{wait / longest * room:.1f}" height="14" fill="{color}"/>')
        parts.append(f'<text x="{BARS + wait / longest * room + 5:.1f}" y="{y + 11}">{wait / 60:.1f}</text>')
    return parts
