"""Small tables for people."""


def table(header, rows):
    """Columns with numbers to the right, thousands apart; everything else to the left."""
    cells = [[_text(value) for value in row] for row in [header, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells)]
    right = [any(isinstance(row[number], int) for row in rows) for number in range(len(header))]
    lines = [
        " │ ".join(
            _align(cell, width, to_right) for cell, width, to_right in zip(row, widths, right)
        )
        for row in cells
    ]
    rule = "─┼─".join("─" * width for width in widths)
    return "\n".join(f"  {line}".rstrip() for line in [lines[0], rule, *lines[1:]])


def _text(value):
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else str(value)


def _align(text, width, to_right):
    return text.rjust(width) if to_right else text.ljust(width)
