"""The compose file and its files: valid, with existing flags and consistent times."""

import json
import re

import flags
import jsonschema
import pytest
import yaml
from manifests import DEPLOY
from tools import run, tools


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def seconds(text):
    return float(text.removesuffix("s"))


def test_the_file_is_valid_by_composes_schema(compose):
    schema = json.loads((tools("compose-spec") / "compose/compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.validate(compose, schema)
    compose["services"]["api-1"]["environments"] = {}
    with pytest.raises(jsonschema.ValidationError, match="environments"):
        jsonschema.validate(compose, schema)


def test_services_are_those_of_one_machine(compose):
    services = compose["services"]
    assert {"mongodb", "scheduler", "api-1", "api-2", "proxy", "grader"} <= set(services)
    assert services["scheduler"]["deploy"]["replicas"] == 2
    for name in ("api-1", "api-2"):
        assert services[name]["environment"]["BROADWAY_INTERNAL_URL"] == f"http://{name}:1471"
        assert seconds(services[name]["stop_grace_period"]) >= 5 + float(
            services[name]["environment"]["BROADWAY_GRACE"]
        )
        assert "ports" not in services[name], "replicas are reached through the proxy"


def test_every_setting_is_a_flag_of_its_binary(compose):
    for service, binary in (
        ("api-1", "broadway-api"),
        ("api-2", "broadway-api"),
        ("scheduler", "broadway-scheduler"),
    ):
        assert flags.unknown(binary, compose["services"][service]["environment"]) == [], service
    assert flags.unknown_arguments("broadway-grader", compose["services"]["grader"]["command"]) == []


def test_files_that_are_mounted_exist(compose):
    sources = [
        volume.split(":")[0]
        for service in compose["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert len(sources) == 3
    for source in sources:
        assert (DEPLOY / source).is_file(), source


def test_secrets_are_generated_once_and_differ(tmp_path):
    script = (DEPLOY / "compose/make-secrets.sh").read_text(encoding="utf-8").replace("/secrets", str(tmp_path))
    assert run(["bash", "-c", script])[0] == 0
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert set(made) == {"internal-token", "cluster-token", "client-token"}
    assert len(set(made.values())) == 3 and all(re.fullmatch(r"[0-9a-f]{48}", token) for token in made.values())
    assert run(["bash", "-c", script])[0] == 0
    assert made == {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}


def test_the_proxy_accepts_its_configuration():
    tools("haproxy")
    status, said = run(["haproxy", "-c", "-f", DEPLOY / "compose/haproxy.cfg"])
    assert status == 0, said
