"""Programs as users write them, which mypy and pyright read: what each line is to them is asserted in it.

Nothing here runs. A line with `# type: ignore` is wrong on purpose; were it not an error to both of them, they would
complain that the comment is unused.
"""
