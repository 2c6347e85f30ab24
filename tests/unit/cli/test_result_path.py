from pathlib import Path

import pytest

from worker.cli.files import ResultPath


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.csv"
    path.write_text("account_id,connector\na,b\n")
    return path


def write_result(path: Path, *job_ids: str, delimiter: str = ",") -> Path:
    lines = [delimiter.join(("account_id", "_job"))] + [delimiter.join(("a", job_id)) for job_id in job_ids]
    path.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


def test_results_go_beside_the_input(file: Path) -> None:
    assert ResultPath(file, None).for_job("j1") == file.with_name("accounts.results.csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_same_job_gets_the_same_file_again(file: Path, delimiter: str) -> None:
    write_result(file.with_name("accounts.results.csv"), "j0", "j1", delimiter=delimiter)
    assert ResultPath(file, None).for_job("j1") == file.with_name("accounts.results.csv")


def test_the_results_of_another_job_are_kept(file: Path) -> None:
    write_result(file.with_name("accounts.results.csv"), "j1")
    assert ResultPath(file, None).for_job("j2") == file.with_name("accounts.results-2.csv")


def test_a_file_that_is_not_ours_is_kept(file: Path) -> None:
    file.with_name("accounts.results.csv").write_text("my,own\n1,2\n")
    assert ResultPath(file, None).for_job("j1") == file.with_name("accounts.results-2.csv")


def test_a_result_file_as_input_is_kept_though_it_is_of_the_same_job(file: Path) -> None:
    earlier = write_result(file.with_name("accounts.results.csv"), "j1")
    assert ResultPath(earlier, None).for_job("j1") == file.with_name("accounts.results-2.csv")


def test_results_of_results_have_no_longer_names(file: Path) -> None:
    write_result(file.with_name("accounts.results.csv"), "j1")
    second = write_result(file.with_name("accounts.results-2.csv"), "j2")
    assert ResultPath(second, None).for_job("j3") == file.with_name("accounts.results-3.csv")


def test_an_earlier_result_file_that_is_named_is_replaced(file: Path, tmp_path: Path) -> None:
    given = write_result(tmp_path / "out.csv", "j1")
    assert ResultPath(file, given).for_job("j2") == given


def test_the_name_is_free_though_the_input_is_gone(file: Path) -> None:
    write_result(file.with_name("accounts.results.csv"), "j1")
    places = ResultPath(file, None)
    file.unlink()
    assert places.for_job("j2") == file.with_name("accounts.results-2.csv")


def refusal(file: Path, given: Path) -> str:
    with pytest.raises(OSError) as caught:
        ResultPath(file, given)
    return f"{caught.value.filename}: {caught.value.strerror}"


def test_the_input_is_never_written_over(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.hardlink_to(file)
    assert refusal(file, link) == f"{link}: this is the input; name another file with --results"


def test_a_foreign_file_is_never_written_over(file: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "salaries.csv"
    foreign.write_text("name,salary\n")
    assert refusal(file, foreign) == (
        f"{foreign}: it exists and is no result file of cyclr-bulk; name another with --results"
    )


def test_a_folder_is_no_place_for_the_results_themselves(file: Path, tmp_path: Path) -> None:
    assert refusal(file, tmp_path) == (
        f"{tmp_path}: expected a file for the results, got a folder; name a file in it"
    )


def test_a_missing_folder_is_named_before_anything_is_installed(file: Path, tmp_path: Path) -> None:
    assert refusal(file, tmp_path / "no" / "out.csv") == (
        f"{tmp_path / 'no'}: there is no such folder for the result file; make it, or name another with --results"
    )


def test_a_folder_that_cannot_be_written_to_is_named_before_anything_is_installed(file: Path) -> None:
    # No user may make files there, the superuser neither.
    assert refusal(file, Path("/proc/out.csv")).startswith("/proc: no result file can be written there (")
