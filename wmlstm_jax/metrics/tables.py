"""Scores for people."""


def markdown_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Cells in columns of equal width; all but the first column to the right."""
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def line(row):
        first, *others = zip(row, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(w) for cell, w in others)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(tuple(rule)), *map(line, rows)])
