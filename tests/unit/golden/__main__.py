"""Writes the golden files anew."""

from tests.unit.golden.writing import FOLDER, files

for name, text in files().items():
    (FOLDER / name).write_text(text)
