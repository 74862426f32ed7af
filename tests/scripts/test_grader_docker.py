"""Some of the tests with real containers, by docker's API."""

import pytest
from conftest import Grader
from docker import running_docker
from fake_api import FakeApi
from podman import IMAGE
from test_grader_containers import (  # noqa: F401  they use the fixture of this file
    test_a_stage_is_confined,
    test_a_stage_is_reported_with_its_figures,
    test_a_stage_may_clean_up_after_term_and_has_failed_all_the_same,
    test_a_stage_reads_its_files_but_can_not_change_them,
    test_out_of_memory_differs_from_an_exit_status,
    test_the_exit_status_is_the_stages_own,
    test_what_a_stage_asks_for_is_granted_within_the_ceiling,
)

pytestmark = pytest.mark.timeout(600)  # the first one starts the daemon


@pytest.fixture(scope="module")
def grading(tmp_path_factory):
    """As that of test_grader_containers."""
    top = tmp_path_factory.mktemp("grading")
    with running_docker(IMAGE) as docker, FakeApi() as api:
        api.limits = {"Broadway-Outcomes": "infrastructure"}
        api.take_files()
        flags = ["--stop-grace=1", "--max-memory=300m", "--max-pids=1000", "--runner=docker"]
        flags += [f"--engine-socket={docker.socket}", f"--work-dir={top / 'work'}", f"--state-dir={top / 'state'}"]
        grader = Grader("--url", api.url, "--concurrency=3", *flags)

        def grade(*stages, seconds=200, **more):
            return api.result_of(api.put(*stages, **more), seconds)

        grade.api, grade.work = api, top / "work"
        yield grade
        assert grader.stop() == 0
        assert list((top / "work").iterdir()) == []
        assert docker.containers() == [], "a container was left"


def test_an_image_that_can_not_be_pulled_returns_the_job(grading):
    """The daemon reaches no registry there."""
    api = grading.api
    job = api.put({"image": "127.0.0.1:9/none:1", "entrypoint": ["true"], "env": [], "timeout": 5})
    api.wait_for(lambda: api.returned, 200)
    [(returned, body)] = api.returned
    assert returned == job and body["reason"].startswith("registry: the image 127.0.0.1:9/none:1 can't be pulled")
