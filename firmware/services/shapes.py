"""The types of the settings. A type checker reads shapes.pyi, which `make docs` makes from the table.

At run time the values are dictionaries, on both Pythons, and these names are only there so that annotations can name
them without quotes.
"""


def __getattr__(name: str) -> type:
    return dict
