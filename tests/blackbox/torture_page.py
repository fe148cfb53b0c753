"""The course of a torture run as one page: what was committed and delivered, how far who was behind, and the faults."""

import html

WIDTH, HEIGHT, LEFT, BELOW = 1100, 260, 70, 24
COLOURS = ["#1668a8", "#c25b12", "#2b8a3e", "#862e9c", "#c92a2a", "#0b7285", "#5c4400", "#444"]
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:right}
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}text{font-size:12px;fill:#444}
pre{background:#f4f4f4;padding:1em;overflow:auto}.bad{color:#c92a2a}.good{color:#2b8a3e}"""


def rates(samples, count, span=4):
    """(seconds, operations a second) of `count`, over so many samples at a time."""
    pairs = zip(samples, samples[span:])
    return [(late[0], max(0, count(late) - count(early)) / (late[0] - early[0])) for early, late in pairs]


def throughput(samples, names):
    lines = {"committed": rates(samples, lambda sample: sample[1])}
    for name in names:
        lines[name] = rates(samples, lambda sample: sample[2].get(name, 0))  # noqa: B023
    return lines


def lag(samples, names):
    return {name: [(seconds, max(0, done - has[name])) for seconds, done, has in samples if name in has] for name in names}


def plot(title, unit, lines, colours, faults):
    """Lines over seconds; a mark for each fault, which says its name."""
    right = max([x for line in lines.values() for x, _ in line] + [seconds for seconds, _ in faults] + [1])
    top = max([y for line in lines.values() for _, y in line] + [1])
    x_of = lambda x: LEFT + x / right * (WIDTH - LEFT)  # noqa: E731
    y_of = lambda y: HEIGHT - BELOW - y / top * (HEIGHT - BELOW - 10)  # noqa: E731
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">']
    for seconds, fault in faults:
        x = f"{x_of(seconds):.1f}"
        told = f"<title>{seconds:.1f} s: {html.escape(fault)}</title>"
        strokes = ["stroke='#c92a2a' opacity='.3'", "stroke='transparent' stroke-width='8'"]  # seen, and easy to point at
        for stroke in strokes:
            parts.append(f"<line x1='{x}' x2='{x}' y1='6' y2='{HEIGHT - BELOW}' {stroke}>{told}</line>")
    for part in range(5):
        y = top * part / 4
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y_of(y):.1f}" y2="{y_of(y):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y_of(y) + 4:.1f}" text-anchor="end">{y:,.0f}</text>')
        x, anchor = right * part / 4, "end" if part == 4 else "middle"
        parts.append(f'<text x="{x_of(x):.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{x:.0f} s</text>')
    for name, line in lines.items():
        colour = colours[name]
        points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    legend = " · ".join(f'<span style="color:{colours[name]}">{html.escape(name)}</span>' for name in lines)
    return f"<h2>{title}, {unit}</h2>{''.join(parts)}</svg><p>{legend} · <span class=bad>a fault each: point at it</span></p>"


def table(header, rows):
    def line(kind, row):
        return "<tr>" + "".join(f"<{kind}>{html.escape(str(cell))}</{kind}>" for cell in row) + "</tr>"

    return f"<table>{line('th', header)}{''.join(line('td', row) for row in rows)}</table>"


def page(torture, columns, fault_columns, again, clean, rate):
    samples, faults = torture.samples.taken, torture.samples.faults
    names = [consumer.name for consumer in torture.consumers if consumer.name != "second reading"]
    colours = dict(zip(["committed", *names], COLOURS))
    everything = [name for name in names if name in ("fast", "slow", "dying", "named")]  # who gets all from the beginning
    verdict = '<span class="good">clean</span>' if clean else '<span class="bad">not clean</span>'
    wrong = [f"{consumer.name}:\n{verdict.explain()}" for consumer, verdict in torture.verdicts if not verdict.clean()]
    wrong += torture.nemesis.complaints
    return "".join([
        f"<!doctype html><html lang=en><meta charset=utf-8><title>torture, seed {torture.seed}</title><style>{STYLE}</style>",
        f"<h1>{sum(torture.counts.values())} rounds of torture: {verdict}</h1>",
        f"<p>{torture.writers.count():,} operations committed, {torture.nemesis.losses} times history lost and healed, {rate:,} rounds/hour.</p>",
        f"<p>Again: <code>{html.escape(again)}</code></p>",
        plot("Throughput", "operations a second", throughput(samples, names), colours, faults),
        plot("Behind", "operations committed and not delivered yet", lag(samples, everything), colours, faults),
        table(columns, torture.rows()),
        table(fault_columns, torture.fault_rows()),
        f"<pre>{html.escape(chr(10).join(wrong))}</pre>" if wrong else "",
        "</html>\n",
    ])


def write(path, *facts):
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(*facts))
