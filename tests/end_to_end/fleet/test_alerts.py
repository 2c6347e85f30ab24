"""The example alert rules: each figure that they name is told by a real web process, and each rule is shown to be told."""

import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from tests.end_to_end.fleet.fleet import Fleet, end
from tests.end_to_end.fleet.web import launch_web
from tests.end_to_end.processes.commands import ROOT, eventually
from tests.started import run_process

FOLDER = ROOT / "deploy" / "prometheus"
OF_PROMETHEUS = {"up"}
COMING = {"cyclr_bulk_server_up"}  # to be taken out when /metrics has it
SUFFIXES_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def read(name: str) -> Any:
    return YAML(typ="safe").load(FOLDER / name)


def rules() -> list[dict[str, Any]]:
    return [rule for group in read("alerts.yml")["groups"] for rule in group["rules"]]


def named(rules: list[dict[str, Any]]) -> dict[str, set[str]]:
    """Figure -> the labels by which the rules choose it."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        for name, chosen in re.findall(r"\b(up|cyclr_bulk_\w+)\b(?:\{([^}]*)\})?", rule["expr"]):
            found.setdefault(name, set()).update(re.findall(r'(\w+)(?:=~|!=|!~|=)"', chosen))
    return found


def told(text: str) -> dict[str, set[str]]:
    """Figure -> its labels, as /metrics has them; also those that it describes and that have no value now."""
    found = {name: set[str]() for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)}
    for name, labels in re.findall(r"^(cyclr_bulk_\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


@pytest.fixture(scope="module")
def exposed(running: Fleet) -> dict[str, set[str]]:
    web, port = launch_web(running)
    running.wait_for(running.submit(["metered-1", "metered-2"]), "completed")
    key = running.say("api-keys", "create", "prometheus").out.strip()
    running.secrets.add(key)
    running.said.pop()  # where the key was shown, once
    answers: list[httpx.Response] = []

    def is_told() -> bool:
        headers = {"Authorization": f"Bearer {key}"}
        answers[:] = [httpx.get(f"http://127.0.0.1:{port}/metrics", headers=headers, timeout=30)]
        return answers[0].status_code == 200

    eventually(is_told, "the web process tells its figures")
    end(web)
    return told(answers[0].text)


def test_each_figure_of_a_rule_is_one_that_is_told(exposed: dict[str, set[str]]) -> None:
    assert named(rules()).keys() - exposed.keys() - OF_PROMETHEUS - COMING == set()


def test_each_label_by_which_a_rule_chooses_is_one_that_the_figure_has(exposed: dict[str, set[str]]) -> None:
    chosen = {name: labels for name, labels in named(rules()).items() if name in exposed}
    assert {name for name, labels in chosen.items() if labels - exposed[name]} == set()
    assert chosen["cyclr_bulk_jobs"] == {"state"}


def test_each_rule_says_how_urgent_it_is_and_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_each_rule_is_shown_to_be_told_and_to_be_quiet() -> None:
    shown = [test for case in read("alerts_test.yml")["tests"] for test in case["alert_rule_test"]]
    names = {rule["alert"] for rule in rules()}
    assert {test["alertname"] for test in shown if test.get("exp_alerts")} == names
    assert {test["alertname"] for test in shown if not test.get("exp_alerts")} == names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
@pytest.mark.parametrize("words", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")])
def test_prometheus_takes_the_rules(words: tuple[str, ...]) -> None:
    done = run_process(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian: prometheus)")
def test_prometheus_takes_what_the_page_says_of_scraping(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    [scraping] = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "key").write_text("cbk_made-up", encoding="utf-8")
    path = tmp_path / "prometheus.yml"
    scraping = scraping.replace("/etc/prometheus/cyclr-bulk.key", str(tmp_path / "key"))
    path.write_text(scraping.replace("/opt/cyclr-bulk", str(ROOT)), encoding="utf-8")
    done = run_process(
        ["promtool", "check", "config", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules())} rules found" in done.stdout
    assert YAML(typ="safe").load(scraping)["scrape_configs"][0]["job_name"] == "cyclr-bulk"
