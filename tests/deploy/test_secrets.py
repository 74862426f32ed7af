"""No deployment starts with the placeholders of the samples, and a generated site has none."""

import base64
import os
import subprocess

import flags
import manifests
import pytest
import schemas
import yaml
from harness import BUILD, Process, clean_environment, free_port
from manifests import KUBERNETES, documents, of_kind, parse, pod_spec, render_directory, settings, title
from tools import run
from waiting import wait_until

BINARIES = ("broadway-api", "broadway-scheduler")


def secret_files(found, deployment):
    """{variable: content} of the files that a deployment's settings name."""
    spec = pod_spec(deployment)
    where = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
    names = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    secrets = of_kind(found, "Secret")
    files = {}
    for entry in spec["containers"][0]["env"]:
        if entry["name"].endswith("_FILE"):
            directory, _, key = entry["value"].rpartition("/")
            files[entry["name"]] = base64.b64decode(secrets[names[where[directory]]]["data"][key]).decode()
    return files


def start(binary, files, directory):
    """(exit status, output) of a start with these secrets; a process that keeps running is stopped."""
    environment = {}
    for name, content in files.items():
        path = directory / name
        path.write_text(content, encoding="utf-8")
        environment[name] = str(path)
    try:
        done = subprocess.run(
            [str(BUILD / binary), "--help" if not files else "--log-level=error"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env=clean_environment(**environment),
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("binary", BINARIES)
@pytest.mark.parametrize("name", manifests.RENDERED)
def test_each_placeholder_alone_stops_the_start_with_a_sentence(name, binary, tmp_path):
    found = documents(name)
    files = secret_files(found, of_kind(found, "Deployment")[binary])
    assert len(files) >= 2
    good = dict.fromkeys(files, "a-secret-that-somebody-made-up")
    good["BROADWAY_MONGODB_URI_FILE"] = "mongodb://broadway:made-up@127.0.0.1:1/?replicaSet=rs0"
    for variable, placeholder in files.items():
        status, said = start(binary, {**good, variable: placeholder}, tmp_path)
        assert status == 2, f"{variable}={placeholder}: {status}"
        # The last line, since the driver may log lines at its start.
        sentence = said.splitlines()[-1]
        assert f": {variable} " in sentence and "placeholder of a sample" in sentence, said


def environment_of(found, binary, directory):
    """The environment of a container of this binary: settings, addresses, and generated secrets as files."""
    deployment = of_kind(found, "Deployment")[binary]
    given = {**settings(found, "broadway-shared"), **settings(found, binary)}
    entries = {entry["name"]: entry.get("value") for entry in pod_spec(deployment)["containers"][0]["env"]}
    files = dict.fromkeys(secret_files(found, deployment), "a-secret-that-somebody-made-up")
    files["BROADWAY_MONGODB_URI_FILE"] = "mongodb://broadway:made-up@127.0.0.1:1/?replicaSet=rs0"
    for name, content in files.items():
        (directory / name).write_text(content, encoding="utf-8")
        entries[name] = str(directory / name)
    entries.pop("POD_IP", None)
    return {**given, **{name: value.replace("$(POD_IP)", "127.0.0.1") for name, value in entries.items()}}


PORTS = {"broadway-api": ("port", "internal-port"), "broadway-scheduler": ("metrics-port",)}
# The log event of each binary after it has read its settings, with or without a database.
FIRST_WORDS = {"broadway-api": "those with the client token", "broadway-scheduler": "waiting for the database"}


@pytest.mark.parametrize("binary", BINARIES)
@pytest.mark.parametrize("name", manifests.RENDERED)
def test_a_binary_starts_with_the_environment_of_its_manifest(name, binary, tmp_path):
    environment = environment_of(documents(name), binary, tmp_path)
    own = [f"--{flag}={free_port()}" for flag in PORTS[binary]]  # the manifests' ports may be in use here
    process = Process(binary, *own, log=tmp_path / "log", env=environment)
    try:
        wait_until(lambda: FIRST_WORDS[binary] in process.said(), 15, "it has taken its settings")
        assert process.child.poll() is None
        assert process.said().splitlines()[-1].startswith("{"), "its log is JSON, as its settings want it"
    finally:
        process.end()


@pytest.mark.parametrize("overlay", [name.removeprefix("overlays/") for name in manifests.OVERLAYS])
def test_a_generated_site_renders_without_any_placeholder(overlay, tmp_path):
    site = tmp_path / "site"
    argv = [KUBERNETES / "make-site", site, "--overlay", overlay, "--registry", "registry.example/broadway"]
    if overlay == "external-mongodb":
        argv += ["--mongodb-uri", "mongodb://broadway:made-up@db1.example.org/?replicaSet=rs0&tls=true"]
    status, said = run(argv)
    assert status == 0, said
    found = parse(render_directory(site))
    for name, secret in of_kind(found, "Secret").items():
        for key, value in secret["data"].items():
            assert b"change-me" not in base64.b64decode(value), f"{name}: {key}"
    for deployment in of_kind(found, "Deployment").values():
        image = pod_spec(deployment)["containers"][0]["image"]
        assert image.startswith("registry.example/broadway/broadway-"), f"{title(deployment)}: {image}"
    again, said = run(argv)
    assert again == 2 and "nothing was changed" in said


def test_tokens_are_replaced_by_way_of_a_second_set(tmp_path):
    site = tmp_path / "site"
    assert run([KUBERNETES / "make-site", site])[0] == 0
    for kind in ("internal", "cluster", "client"):
        (site / f"secrets/second-{kind}-token").write_text(f"the-second-{kind}-token", encoding="utf-8")
    kustomization = yaml.safe_load((site / "kustomization.yaml").read_text(encoding="utf-8"))
    kustomization["components"] = [os.path.relpath(KUBERNETES / "components/second-tokens", site)]
    kustomization["secretGenerator"].append(
        {
            "name": "broadway-second",
            "namespace": "broadway",
            "files": [f"secrets/second-{kind}-token" for kind in ("internal", "cluster", "client")],
        }
    )
    (site / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    found = parse(render_directory(site))
    api = of_kind(found, "Deployment")["broadway-api"]
    schemas.check(api, schemas.VERSIONS[0])
    files = secret_files(found, api)
    assert files["BROADWAY_SECOND_CLIENT_TOKEN_FILE"] == "the-second-client-token"
    assert files["BROADWAY_CLIENT_TOKEN_FILE"] == (site / "secrets/client-token").read_text(encoding="utf-8")
    assert pod_spec(api)["containers"][0]["lifecycle"], "the rest of the container is as it was"
    status, said = start("broadway-api", {**files, "BROADWAY_SECOND_CLIENT_TOKEN_FILE": "change-me"}, tmp_path)
    assert status == 2 and "BROADWAY_SECOND_CLIENT_TOKEN_FILE " in said


def test_courses_are_a_secret_of_the_site(tmp_path):
    site = tmp_path / "site"
    assert run([KUBERNETES / "make-site", site])[0] == 0
    courses = '{"cs225": {"tokens": ["a-token-that-somebody-made-up"]}}'
    (site / "secrets/courses.json").write_text(courses, encoding="utf-8")
    kustomization = yaml.safe_load((site / "kustomization.yaml").read_text(encoding="utf-8"))
    kustomization["components"] = [os.path.relpath(KUBERNETES / "components/courses", site)]
    entry = {"name": "broadway-courses", "namespace": "broadway", "files": ["secrets/courses.json"]}
    kustomization["secretGenerator"].append(entry)
    (site / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    found = parse(render_directory(site))
    api = of_kind(found, "Deployment")["broadway-api"]
    schemas.check(api, schemas.VERSIONS[0])
    (container,) = pod_spec(api)["containers"]
    assert (
        flags.unknown("broadway-api", [entry["name"] for entry in container["env"] if entry["name"] != "POD_IP"]) == []
    )
    (path,) = [entry["value"] for entry in container["env"] if entry["name"] == "BROADWAY_COURSE_CONFIG"]
    directory, _, key = path.rpartition("/")
    (mount,) = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == directory]
    (secret,) = [v["secret"]["secretName"] for v in pod_spec(api)["volumes"] if v["name"] == mount]
    assert base64.b64decode(of_kind(found, "Secret")[secret]["data"][key]).decode() == courses


def keys_sh(directory):
    """(exit status, output) of the script that checks the database's secrets, with its paths below a directory."""
    script = (KUBERNETES / "components/mongodb/keys.sh").read_text(encoding="utf-8")
    for path in ("/run/secrets", "/run/keys"):
        script = script.replace(path, f"{directory}{path}")
    (directory / "run/keys").mkdir(parents=True, exist_ok=True)
    return run(["bash", "-c", script])


def lay_out(found, directory):
    """Writes the secrets of the StatefulSet to the paths that its containers use."""
    spec = pod_spec(of_kind(found, "StatefulSet")["mongodb"])
    volumes = {volume["name"]: volume["secret"]["secretName"] for volume in spec["volumes"] if "secret" in volume}
    written = []
    for mount in spec["initContainers"][0]["volumeMounts"]:
        if mount["name"] in volumes:
            place = directory / mount["mountPath"].lstrip("/")
            place.mkdir(parents=True)
            for key, value in of_kind(found, "Secret")[volumes[mount["name"]]]["data"].items():
                (place / key).write_bytes(base64.b64decode(value))
                written.append(place / key)
    return written


def test_each_placeholder_alone_stops_the_database_too(tmp_path):
    assert run([KUBERNETES / "make-site", tmp_path / "site"])[0] == 0
    files = lay_out(parse(render_directory(tmp_path / "site")), tmp_path / "pod")
    assert {path.name for path in files} == {"keyfile", "root-password", "broadway-password", "tls.pem", "ca.crt"}
    status, said = keys_sh(tmp_path / "pod")
    assert status == 0, said
    assert (tmp_path / "pod/run/keys/keyfile").stat().st_mode & 0o777 == 0o400, "mongod refuses any other mode"
    for path in files:
        good = path.read_bytes()
        path.write_text("change-me", encoding="utf-8")
        status, said = keys_sh(tmp_path / "pod")
        assert status == 1 and f"{path.name} is the placeholder of a sample" in said, said
        path.write_bytes(good)


def test_placeholders_of_the_overlay_are_what_the_database_refuses(tmp_path):
    files = lay_out(documents("overlays/production"), tmp_path)
    assert all(path.read_text(encoding="utf-8").startswith("change-me") for path in files)
    assert keys_sh(tmp_path)[0] == 1


def test_a_grader_refuses_the_placeholder(tmp_path):
    found = documents("overlays/production")
    (secret,) = [data for name, data in of_kind(found, "Secret").items() if name.startswith("broadway-grader-")]
    path = tmp_path / "cluster-token"
    path.write_bytes(base64.b64decode(secret["data"]["cluster-token"]))
    status, said = run([*flags.COMMANDS["broadway-grader"], f"--token-file={path}", "--runner=process"])
    assert status == 2 and "placeholder of a sample" in said, said


def test_missing_secrets_of_a_site_are_named(tmp_path):
    for arguments, words in (
        ([], "which directory"),
        ([tmp_path / "a", "--overlay", "none"], "no overlay 'none'"),
        ([tmp_path / "b", "--overlay", "external-mongodb"], "needs --mongodb-uri"),
        ([tmp_path / "c", "--mongodb-uri", "mongodb://x"], "only"),
        ([tmp_path / "d", "--overlays", "production"], "no flag"),
    ):
        status, said = run([KUBERNETES / "make-site", *arguments])
        assert status == 2 and words in said, said
    assert list(tmp_path.iterdir()) == []


def test_the_databases_certificate_is_valid_for_its_members(tmp_path):
    site = tmp_path / "site"
    assert run([KUBERNETES / "make-site", site])[0] == 0
    secrets = site / "secrets"
    for host in ("mongodb-2.mongodb.broadway.svc.cluster.local", "localhost"):
        check = ["openssl", "verify", "-CAfile", secrets / "ca.crt", "-verify_hostname", host, secrets / "tls.pem"]
        status, said = run(check)
        assert status == 0, said
    assert oct(secrets.stat().st_mode & 0o777) == "0o700"
    assert not [path for path in secrets.iterdir() if path.stat().st_mode & 0o077]
