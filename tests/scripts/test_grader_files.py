"""Files of jobs, by the reference grader with the process runner and a fake API."""

import io
import os
import tarfile
import threading

import pytest
from broadway_tools.grader.collect import open_file, pack, scan
from broadway_tools.grader.file_cache import FileCache
from broadway_tools.grader.unpack import UnpackError, unpack

MIB = 1024 * 1024


def sh(script, **more):
    return {"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


def archive(*entries, mode="w"):
    """A tar archive of (name, content, keys of its entry)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content, *more in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            for key, value in dict(*more).items():
                setattr(entry, key, value)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(content, directory, most_bytes=MIB, **more):
    directory.mkdir(exist_ok=True)
    unpack(io.BytesIO(content), directory, most_bytes, **more)
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


@pytest.fixture
def files_api(api):
    api.take_files()
    return api


# ---- Jobs ----


def test_a_job_finds_its_files_and_archives(files_api, start_grader):
    api = files_api
    start_grader()
    tests = archive(("./run.sh", b"echo ran\n", {"mode": 0o755}), ("data/one", b"1"))
    files = [
        {"path": "input/main.c", **api.keep(b"int main;\n")},
        {"path": "input/empty", **api.keep(b"")},
        {"path": "input/tests/all", "unpack": True, **api.keep(tests)},
        {"path": "shared", "unpack": True, **api.keep(archive(("built", b"by the first job\n")))},
    ]
    script = "cat input/main.c input/empty input/tests/all/data/one shared/built; input/tests/all/run.sh"
    body = api.result_of(api.put(sh(script), files=files))
    assert body["logs"]["stdout"] == "int main;\n1by the first job\nran\n"
    assert body["success"] is True and "files" not in body
    assert api.registrations[0]["files"] == "true"


def test_a_file_of_many_jobs_is_fetched_once(files_api, start_grader):
    api = files_api
    start_grader("--concurrency=4")
    entry = {"path": "input/large", **api.keep(os.urandom(3 * MIB))}
    jobs = [api.put(sh("wc -c <input/large"), files=[entry]) for _ in range(12)]
    assert {api.result_of(job, 30)["logs"]["stdout"] for job in jobs} == {f"{3 * MIB}\n"}
    assert len(api.fetched) == 1


def test_artifacts_are_sent_file_by_file_and_named_in_the_result(files_api, start_grader):
    api = files_api
    start_grader()
    script = """mkdir -p artifacts/plots; echo one >artifacts/report.html; echo two >artifacts/plots/a.svg
        ln -s /etc/passwd artifacts/passwd; ln -s /etc artifacts/etc; mkfifo artifacts/pipe; exit 3"""
    job = api.put(sh(script))
    body = api.result_of(job)
    assert [entry["path"] for entry in body["files"]] == ["artifacts/plots/a.svg", "artifacts/report.html"]
    assert [api.files[entry["digest"]] for entry in body["files"]] == [b"two\n", b"one\n"]
    assert body["success"] is False, "the stage's own failure; its artifacts are kept"
    assert "3 entries of artifacts are left out" in body["logs"]["stderr"]
    assert {sent for sent, _ in api.sent} == {job}


def test_what_exceeds_the_limits_is_left_out_and_the_log_says_so(files_api, start_grader):
    api = files_api
    api.largest_file = 2 * MIB
    start_grader("--max-artifacts=4m")
    script = """mkdir artifacts; cd artifacts; head -c 3000000 /dev/zero >a
        for i in b c d; do head -c 1500000 /dev/zero >$i; done"""
    body = api.result_of(api.put(sh(script)))
    assert body["success"] is True
    assert [entry["path"] for entry in body["files"]] == ["artifacts/b", "artifacts/c"]
    assert (
        "[2 files of artifacts are left out; limits: 1000 files, 4194304 bytes, and what the API takes]"
        in (body["logs"]["stderr"])
    )


def test_at_most_a_thousand_artifacts_are_sent(files_api, start_grader):
    api = files_api
    start_grader()
    body = api.result_of(api.put(sh("mkdir artifacts; cd artifacts; for i in $(seq 1005); do echo same >$i; done")), 60)
    assert len(body["files"]) == 1000 and "[5 files of artifacts are left out" in body["logs"]["stderr"]


def test_the_directory_shared_of_the_first_job_reaches_the_others(files_api, start_grader):
    api = files_api
    start_grader()
    script = (
        "mkdir -p shared/bin; echo 'echo built' >shared/bin/tool; chmod +x shared/bin/tool; ln -s tool shared/bin/link"
    )
    body = api.result_of(api.put(sh(script), students=[{"A": "1"}]))
    [entry] = body["files"]
    assert (entry["path"], entry["unpack"]) == ("shared", True)
    files = [{**entry, "size": len(api.files[entry["digest"]])}]
    assert (
        api.result_of(api.put(sh("shared/bin/tool; ls shared/bin"), files=files))["logs"]["stdout"] == "built\ntool\n"
    )


def test_a_directory_shared_over_the_limit_fails_its_job_by_a_sentence(files_api, start_grader):
    api = files_api
    start_grader("--max-shared=1m")
    body = api.result_of(api.put(sh("mkdir shared; head -c 2000000 /dev/zero >shared/a"), students=[{}]))
    assert body["success"] is False and "files" not in body
    assert "the directory shared holds more than 1048576 bytes" in body["result"]["error"]
    assert body["result"]["error"] in body["logs"]["stderr"]
    assert body["result"]["stages"][0]["exit_code"] == 0


def test_only_a_job_for_all_students_shares(files_api, start_grader):
    api = files_api
    start_grader()
    assert "files" not in api.result_of(api.put(sh("mkdir shared; echo mine >shared/a")))


@pytest.mark.parametrize(
    "path", ["/etc/x", "input", "input/../../x", "input//x", "input/./x", "elsewhere/x", "shared/x", ""]
)
def test_a_file_that_would_land_elsewhere_fails_the_job(files_api, start_grader, path):
    api = files_api
    start_grader()
    body = api.result_of(api.put(sh("echo never"), files=[{"path": path, **api.keep(b"x")}]))
    assert body["success"] is False and body["result"]["stages"] == []
    assert repr(path) in body["result"]["error"]


def test_a_damaged_archive_fails_the_job_by_a_sentence(files_api, start_grader):
    api = files_api
    start_grader()
    files = [{"path": "input/tests", "unpack": True, **api.keep(b"no archive" * 1000)}]
    body = api.result_of(api.put(sh("echo never"), files=files))
    assert body["success"] is False
    assert "the archive tests can't be unpacked: it is not a tar archive" in body["result"]["error"]


# ---- Faults ----


def test_a_download_is_tried_again(files_api, start_grader):
    api = files_api
    start_grader()
    job = "f" * 32
    api.refusals += [
        ("GET", f"/api/v1/grading_job/{job}/files", 503),
        ("GET", f"/api/v1/grading_job/{job}/files", None),
    ]
    body = api.result_of(api.put(sh("cat input/a"), job_id=job, files=[{"path": "input/a", **api.keep(b"here")}]))
    assert body["logs"]["stdout"] == "here"


def test_an_upload_is_tried_again(files_api, start_grader):
    api = files_api
    start_grader()
    job = "f" * 32
    api.refusals += [
        ("POST", f"/api/v1/grading_job/{job}/files", 503),
        ("POST", f"/api/v1/grading_job/{job}/files", None),
    ]
    api.lost_answers += [("POST", f"/api/v1/grading_job/{job}/files")]
    body = api.result_of(api.put(sh("mkdir artifacts; echo one >artifacts/a"), job_id=job))
    assert [api.files[entry["digest"]] for entry in body["files"]] == [b"one\n"]


@pytest.mark.parametrize("spoilt", ["gone", "another one", "longer", "shorter"])
def test_a_job_whose_file_can_not_be_had_is_returned(files_api, start_grader, spoilt):
    """The machine itself goes on with other jobs."""
    api = files_api
    api.limits["Broadway-Outcomes"] = "infrastructure"
    start_grader("--file-timeout=0.5")
    entry = {"path": "input/a", **api.keep(b"content")}
    wrong = {"another one": b"CONTENT", "longer": b"content" * MIB, "shorter": b"con"}
    if spoilt == "gone":
        del api.files[entry["digest"]]
    else:
        api.files[entry["digest"]] = wrong[spoilt]
    job = api.put(sh("echo never"), files=[entry])
    api.wait_for(lambda: api.returned)
    assert api.returned[0][0] == job and api.returned[0][1]["reason"].startswith("files: the file input/a can't be ")
    api.queue.clear()
    assert api.result_of(api.put(sh("true")))["success"] is True


def test_a_job_whose_artifacts_can_not_be_sent_is_returned_and_runs_again(files_api, start_grader):
    api = files_api
    api.limits["Broadway-Outcomes"] = "infrastructure"
    start_grader()
    job = "f" * 32
    api.refusals += [("POST", f"/api/v1/grading_job/{job}/files", 400)]
    body = api.result_of(api.put(sh("mkdir artifacts; echo one >artifacts/a"), job_id=job))
    assert [returned for returned, _ in api.returned] == [job]
    assert "a file of the result can't be sent" in api.returned[0][1]["reason"]
    assert body["success"] is True and len(body["files"]) == 1


def test_an_api_without_files_gets_none(api, start_grader):
    start_grader()
    body = api.result_of(api.put(sh("mkdir artifacts; echo one >artifacts/a")))
    assert body["success"] is True and "files" not in body
    assert "files" not in api.registrations[0] and api.sent == []


# ---- The parts ----


def test_a_compressed_archive_is_unpacked_with_its_links(tmp_path):
    entries = [
        ("a/file", b"x", {"mode": 0o4755}),
        ("a/same", b"", {"type": tarfile.LNKTYPE, "linkname": "a/file"}),
        ("a/b/up", b"", {"type": tarfile.SYMTYPE, "linkname": "../file"}),
        ("empty", b"", {"type": tarfile.DIRTYPE}),
    ]
    for mode in ("w", "w:gz", "w:xz"):
        top = tmp_path / mode.replace(":", "-")
        assert unpacked(archive(*entries, mode=mode), top) == {"a", "a/file", "a/same", "a/b", "a/b/up", "empty"}
        assert (top / "a" / "b" / "up").read_bytes() == b"x"
        assert (top / "a" / "file").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([("/etc/x", b"")], "leads out"),
        ([("a/../../x", b"")], "leads out"),
        ([("l", b"", {"type": tarfile.SYMTYPE, "linkname": "/etc"})], "leads out"),
        ([("a/l", b"", {"type": tarfile.SYMTYPE, "linkname": "../../x"})], "leads out"),
        ([("l", b"", {"type": tarfile.SYMTYPE, "linkname": "a/../../x"})], "leads out"),
        ([("l", b"", {"type": tarfile.LNKTYPE, "linkname": "../x"})], "leads out"),
        ([("l", b"", {"type": tarfile.LNKTYPE, "linkname": "later"}), ("later", b"")], "not a file before it"),
        ([("l", b"", {"type": tarfile.SYMTYPE, "linkname": "d"}), ("l/x", b"")], "occurs twice"),
        ([("d", b"", {"type": tarfile.CHRTYPE})], "neither a file"),
        ([("d", b"", {"type": tarfile.FIFOTYPE})], "neither a file"),
        ([("a", b""), ("a", b"")], "occurs twice"),
        ([("a", b""), ("a/b", b"")], "occurs twice"),
        ([("a", b"x" * (MIB // 2)), ("b", b"x" * (MIB // 2 + 1))], "too many bytes"),
        ([(str(number), b"") for number in range(21)], "too many entries"),
        ([("d/" * 65 + "x", b"")], "too deep"),
    ],
)
def test_an_archive_that_is_not_safe_is_refused(tmp_path, entries, why):
    with pytest.raises(UnpackError, match=why):
        unpacked(archive(*entries), tmp_path / "top", most_entries=20)
    assert [path.name for path in tmp_path.iterdir()] == ["top"], "nothing is outside"


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    bomb = archive(("zeros", bytes(200 * MIB)), mode="w:gz")
    with pytest.raises(UnpackError, match="too many bytes"):
        unpacked(bomb, tmp_path / "top")
    assert sum(path.stat().st_size for path in (tmp_path / "top").rglob("*")) <= MIB


def test_a_cut_archive_is_refused(tmp_path):
    whole = archive(("a", os.urandom(MIB // 2)), mode="w:gz")
    for length in (1, 100, len(whole) // 2):
        with pytest.raises(UnpackError):
            unpacked(whole[:length], tmp_path / str(length))


def test_no_link_is_followed_out_of_a_scanned_directory(tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    top = tmp_path / "artifacts"
    top.mkdir()
    (top / "own").write_text("own")
    (top / "file").symlink_to(secret / "key")
    (top / "directory").symlink_to(secret)
    (top / "bad\nname").write_text("")
    found = scan(top)
    assert found.files == [("own", 3)] and found.directories == [] and found.others == 3
    for path in ("file", "directory/key", "../secret/key", "none"):
        file = open_file(top, path) if not path.startswith("..") else None
        assert file is None, path
    link = tmp_path / "link"
    link.symlink_to(secret)
    assert scan(link) is None


def test_a_packed_directory_has_the_same_files_when_it_is_unpacked(tmp_path):
    top = tmp_path / "shared"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "one").write_text("1")
    (top / "a" / "tool").write_text("#!/bin/sh")
    (top / "a" / "tool").chmod(0o700)
    buffer = io.BytesIO()
    pack(top, scan(top), buffer)
    assert unpacked(buffer.getvalue(), tmp_path / "copy") == {"a", "a/b", "a/one", "a/tool"}
    assert (tmp_path / "copy" / "a" / "tool").stat().st_mode & 0o777 == 0o755


def test_the_cache_holds_a_number_of_bytes_and_lets_go_of_the_oldest(tmp_path):
    cache, fetched = FileCache(tmp_path / "files", 100), []

    def get(name, size=40):
        def fetch(file):
            fetched.append(name)
            file.write(name.encode() * size)

        with cache.open(f"sha256:{name}", size, fetch) as file:
            assert file.read() == name.encode() * size

    for name in "aababcbac":
        get(name)
    assert "".join(fetched) == "abcac", "b, used later than a, was kept"
    get("d", 200)
    assert sum(path.stat().st_size for path in (tmp_path / "files").iterdir()) <= 100


def test_one_fetches_while_others_wait_and_a_failure_leaves_nothing(tmp_path):
    cache, fetched = FileCache(tmp_path / "files", 100), []
    begun, may_end = threading.Event(), threading.Event()

    def fetch(file):
        fetched.append(1)
        begun.set()
        may_end.wait(10)
        if len(fetched) == 1:
            raise ValueError("the first fails")
        file.write(b"x")

    def get():
        try:
            cache.open("sha256:a", 1, fetch).close()
        except ValueError:
            pass

    threads = [threading.Thread(target=get) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(10) and len(fetched) == 1
    may_end.set()
    for thread in threads:
        thread.join(10)
    assert len(fetched) == 2 and len(list((tmp_path / "files").iterdir())) == 1
