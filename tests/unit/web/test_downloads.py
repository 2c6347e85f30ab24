from dataclasses import replace

import pytest

from tests.unit.web.test_progress import JOB
from worker.web.files import attachment, download_name


@pytest.mark.parametrize(
    ("source_name", "which", "name"),
    [
        ("spring.csv", "results", "spring.261122-bcdfgh.results.csv"),
        ("spring.csv", "failed", "spring.261122-bcdfgh.failed.csv"),
        ("spring.csv", "failed-3f9a0c12", "spring.261122-bcdfgh.failed-3f9a0c12.csv"),
        ("spring.v2.csv", "links", "spring.v2.261122-bcdfgh.links.csv"),
        ("items", "results", "items.261122-bcdfgh.results.csv"),
        # A result file that is handed in again.
        ("spring.261120-qrstvw.results.csv", "results", "spring.261122-bcdfgh.results.csv"),
        ("spring.261120-qrstvw.failed-3f9a0c12.csv", "results", "spring.261122-bcdfgh.results.csv"),
        ('a/b\\c\n"d.csv', "results", "a_b_c__d.261122-bcdfgh.results.csv"),
        ("Süd.csv", "results", "Süd.261122-bcdfgh.results.csv"),
        ("..csv", "results", "261122-bcdfgh.results.csv"),
    ],
)
def test_a_download_says_its_file_its_job_and_which_rows(source_name: str, which: str, name: str):
    assert download_name(replace(JOB, source_name=source_name), which) == name


def test_a_long_name_is_cut_and_the_job_is_not():
    name = download_name(replace(JOB, source_name=f"{'n' * 300}.csv"), "results")
    assert name == f"{'n' * 80}.261122-bcdfgh.results.csv"


def test_a_name_comes_whole_and_in_plain_letters_beside():
    assert attachment("spring.csv") == {"Content-Disposition": 'attachment; filename="spring.csv"'}
    assert attachment("Süd.csv") == {
        "Content-Disposition": "attachment; filename=\"Sud.csv\"; filename*=UTF-8''S%C3%BCd.csv"
    }
