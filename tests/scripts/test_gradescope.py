"""Runs that are made of autograders for Gradescope."""

import io
import shutil
import stat
import tarfile
import zipfile

import pytest
from broadway.gradescope import RESULTS, GradescopeError, Settings, build_run
from broadway.plan import config_problems
from conftest import SCRIPTS

SAMPLE = SCRIPTS / "samples" / "gradescope"


def zipped(path, members):
    """A zip file of {name: content, or its content and mode}."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            content, mode = member if isinstance(member, tuple) else (member, stat.S_IFREG | 0o644)
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


@pytest.fixture
def build(tmp_path):
    """Builds a run of an autograder {name: content} and a directory of submissions."""
    packed = tmp_path / "packed"
    packed.mkdir()

    def build_it(members, submissions=SAMPLE / "submissions", **settings):
        archive = zipped(tmp_path / "ag.zip", members)
        return build_run(archive, submissions, packed, Settings(**settings) if settings else None)

    return build_it


def content_of(run, digest):
    """{name: (content, mode, target of a link)} of an archive of the run."""
    with tarfile.open(run.files[digest]) as archive:
        return {
            member.name: (
                archive.extractfile(member).read() if member.isreg() else b"",
                member.mode,
                member.linkname or None,
            )
            for member in archive
        }


MINIMAL = {"run_autograder": "#!/bin/sh\n"}


def test_a_submission_per_entry_and_the_autograder_once(build):
    run = build(MINIMAL | {"setup.sh": "", "tests/a.py": "1"})
    definition = run.definition
    assert definition["students"] == [{"STUDENT": "ada"}, {"STUDENT": "grace"}]
    assert definition["name"] == "ag"
    ((common,), (ada, grace)) = definition["files"], definition["student_files"]
    assert common["unpack"] and set(content_of(run, common["digest"])) == {"run_autograder", "setup.sh", "tests/a.py"}
    assert content_of(run, ada[0]["digest"])["sum.txt"][0] == b"42\n"
    assert content_of(run, grace[0]["digest"])["sum.txt"][0] == b"41\n"
    assert b'"name": "grace"' in run.files[grace[1]["digest"]].read_bytes()
    (stage,) = definition["student_pipeline"]
    assert (stage["results"], stage["networking"], stage["entrypoint"][-1]) == (RESULTS, True, "setup")


def test_without_setup_there_is_no_network_unless_asked_for(build):
    for members, settings in ((MINIMAL, {}), (MINIMAL | {"setup.sh": ""}, {"has_setup": False})):
        run = build(members, **settings)
        (stage,) = run.definition["student_pipeline"]
        assert (stage["networking"], stage["entrypoint"][-1]) == (False, "run")
        assert "The network is off: --networking switches it on." in run.notes
        assert any("a run_autograder that uses su or chown needs" in note for note in run.notes)
    (stage,) = build(MINIMAL, networking=True).definition["student_pipeline"]
    assert stage["networking"] is True


def test_the_same_content_has_the_same_digest(build, tmp_path):
    twin = tmp_path / "submissions"
    (twin / "linus").mkdir(parents=True)
    (twin / "linus" / "sum.txt").write_text("42\n", encoding="utf-8")
    assert build(MINIMAL).definition["student_files"][0][0] == build(MINIMAL, twin).definition["student_files"][0][0]


def test_submissions_may_be_directories_archives_and_files(build, tmp_path):
    top = tmp_path / "submissions"
    (top / "ada").mkdir(parents=True)
    (top / "ada" / "run.sh").write_text("true", encoding="utf-8")
    (top / "ada" / "run.sh").chmod(0o755)
    (top / "ada" / "link").symlink_to("run.sh")
    zipped(top / "grace.zip", {"__MACOSX/x": "", "b/c.py": "2", "link": ("b/c.py", stat.S_IFLNK | 0o777)})
    with tarfile.open(top / "linus.tar.gz", "w:gz") as archive:
        info = tarfile.TarInfo("d.py")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"3"))
    (top / "ken.py").write_text("4", encoding="utf-8")
    (top / ".hidden").write_text("", encoding="utf-8")
    run = build(MINIMAL, top)
    works = {
        student["STUDENT"]: content_of(run, files[0]["digest"])
        for student, files in zip(run.definition["students"], run.definition["student_files"], strict=True)
    }
    assert works == {
        "ada": {"run.sh": (b"true", 0o755, None), "link": (b"", 0o644, "run.sh")},
        "grace": {"b/c.py": (b"2", 0o644, None), "link": (b"", 0o644, "b/c.py")},
        "linus": {"d.py": (b"3", 0o644, None)},
        "ken": {"ken.py": (b"4", 0o644, None)},
    }


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"x.py": ""}, "ag.zip: has no run_autograder: is it a Gradescope autograder?"),
        (
            {"ag/run_autograder": ""},
            "ag.zip: 'ag/run_autograder' must be at the top: zip the files, not their directory",
        ),
        (MINIMAL | {"../x": ""}, "ag.zip: '../x' leads out of the archive"),
        (MINIMAL | {"/etc/x": ""}, "ag.zip: '/etc/x' leads out of the archive"),
    ],
)
def test_an_autograder_that_cant_be_used_is_refused_with_the_reason(build, members, sentence):
    with pytest.raises(GradescopeError) as refusal:
        build(members)
    assert str(refusal.value) == sentence


def test_submissions_that_cant_be_used_are_refused_with_the_reason(build, tmp_path):
    top = tmp_path / "submissions"
    with pytest.raises(GradescopeError, match="No such file or directory"):
        build(MINIMAL, top)
    top.mkdir()
    with pytest.raises(GradescopeError, match="there are no submissions in it"):
        build(MINIMAL, top)
    (top / "ada.zip").write_bytes(b"not a zip file")
    with pytest.raises(GradescopeError, match=r"ada\.zip: is no archive that can be read: File is not a zip file"):
        build(MINIMAL, top)
    (top / "ada").mkdir()
    with pytest.raises(GradescopeError, match=r"'ada' and 'ada\.zip' are of one student"):
        build(MINIMAL, top)


def test_the_same_run_in_a_course(build):
    run = build(MINIMAL)
    body, config = run.for_course()
    assert config == {key: run.definition[key] for key in ("student_pipeline", "owner_rules")}
    assert config_problems(config) == []
    assert body.pop("students_env") == run.definition["students"]
    assert body == {key: run.definition[key] for key in ("name", "files", "student_files")}


def test_the_default_image_is_of_a_registry(build):
    (stage,) = build(MINIMAL).definition["student_pipeline"]
    assert stage["image"].split("/")[0] == "docker.io"


def test_many_members_are_as_large_as_one(build, tmp_path):
    top = tmp_path / "submissions"
    top.mkdir()
    zipped(top / "ada.zip", {f"{number}.bin": bytes(8 << 20) for number in range(9)})
    with pytest.raises(GradescopeError, match=r"ada\.zip: is larger than 64 MiB unpacked"):
        build(MINIMAL, top)


def test_a_link_is_no_submission(build, tmp_path):
    top = tmp_path / "submissions"
    top.mkdir()
    (top / "ada").symlink_to("/etc")
    with pytest.raises(GradescopeError, match="'ada' is a link"):
        build(MINIMAL, top)


def test_the_sample_is_an_autograder(tmp_path):
    archive = shutil.make_archive(str(tmp_path / "sums"), "zip", SAMPLE / "autograder")
    (tmp_path / "packed").mkdir()
    run = build_run(tmp_path / "sums.zip", SAMPLE / "submissions", tmp_path / "packed")
    assert archive.endswith("sums.zip") and run.definition["name"] == "sums"
    assert content_of(run, run.definition["files"][0]["digest"])["run_autograder"][1] == 0o755
