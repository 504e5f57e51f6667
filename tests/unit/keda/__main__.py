"""Write anew what each manifest becomes."""

from tests.unit.keda import INPUTS, converted, expected

for name in INPUTS:
    expected(name).write_text(converted(name))
