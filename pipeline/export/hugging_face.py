"""Hugging Face: a folder that `datasets.load_dataset` opens, Parquet files and a card.

Each table is a configuration; `videos` is the default.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from pipeline.export.tables import ExportTable
from pipeline.storage.location import Location
from pipeline.storage.parquet_parts import PartWriter

CARD = "README.md"
_ROWS_PER_FILE = 500_000
_DTYPES = {"float": "float32", "double": "float64", "date32[day]": "date32"}


def write_hugging_face(folder: Location, tables: Sequence[ExportTable], *, about: str) -> None:
    """Writes the tables, and the card last.

    Args:
        folder: where to.
        tables: of the run.
        about: a sentence for the card.
    """
    for table in tables:
        with PartWriter(folder.child(table.name), table.schema, _ROWS_PER_FILE) as writer:
            for batch in table.batches():
                writer.write(pa.Table.from_batches([batch]))
    folder.child(CARD).write_bytes(_card(tables, about).encode())


def _card(tables: Sequence[ExportTable], about: str) -> str:
    lines = ["---", "task_categories:", "- video-classification", "configs:"]
    for number, table in enumerate(tables):
        lines += [f"- config_name: {table.name}", f"  data_files: {table.name}/*.parquet"]
        lines += ["  default: true"] if not number else []
    lines += ["dataset_info:"]
    for table in tables:
        lines += [f"- config_name: {table.name}", "  features:"]
        for field in table.schema:
            lines += [f"  - name: {field.name}", *_feature(field.type)]
    lines += ["---", "", "# Video labels", "", about, ""]
    for table in tables:
        lines += [f"## {table.name}", "", "| column | meaning |", "|---|---|"]
        lines += [f"| `{each.name}` | {_meaning(each)} |" for each in table.schema]
        lines += [""]
    return "\n".join(lines)


def _feature(kind: pa.DataType) -> list[str]:
    if pa.types.is_list(kind):
        return [f"    sequence: {_dtype(kind.value_type)}"]
    return [f"    dtype: {_dtype(kind)}"]


def _dtype(kind: pa.DataType) -> str:
    return _DTYPES.get(str(kind), str(kind))


def _meaning(field: pa.Field) -> str:
    about: bytes = (field.metadata or {}).get(b"about", b"")
    return about.decode()
