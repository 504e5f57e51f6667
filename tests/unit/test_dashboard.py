"""The dashboard as Grafana lays it out; its queries are tried in tests/end_to_end/test_prometheus.py."""

import itertools

from tests.support.prometheus import dashboard

COLUMNS = 24
PANELS = dashboard()["panels"]
CHOSEN = {"type": "prometheus", "uid": "${datasource}"}


def cells(panel: dict[str, dict[str, int]]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    columns, rows = range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])
    return set(itertools.product(columns, rows))


def test_panels_have_numbers_of_their_own_and_titles() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert all(panel["title"] for panel in PANELS)


def test_panels_fill_the_grid_without_gap_or_overlap() -> None:
    taken = [cell for panel in PANELS for cell in cells(panel)]
    assert len(set(taken)) == len(taken)
    rows = 1 + max(row for _, row in taken)
    assert len(taken) == COLUMNS * rows


def test_every_query_goes_to_the_data_source_that_is_chosen() -> None:
    for panel in PANELS:
        if panel["type"] != "row":
            assert panel["datasource"] == CHOSEN, panel["title"]
            assert all(target["datasource"] == CHOSEN for target in panel["targets"]), panel["title"]


def test_the_data_source_can_be_chosen() -> None:
    first, *others = dashboard()["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    assert all(variable["datasource"] == CHOSEN for variable in others)
