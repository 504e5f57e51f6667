"""What keeps the source easy to find one's way in."""

import ast
import pathlib
import re
from collections import Counter

ROOT = pathlib.Path(__file__).parents[2]


def test_no_two_classes_of_the_package_have_one_name() -> None:
    names = Counter(
        node.name
        for path in (ROOT / "natsscaler").rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    assert names
    assert [name for name, number in names.items() if number > 1] == []


def test_no_test_module_imports_another() -> None:
    """What two of them need is in tests/support."""
    modules = list((ROOT / "tests").rglob("test_*.py"))
    assert modules
    imports = r"^\s*(?:from|import) tests\.[\w.]*\btest_\w+"
    assert [path.name for path in modules if re.search(imports, path.read_text(), re.MULTILINE)] == []
