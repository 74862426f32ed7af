"""Strict schemas of Kubernetes, by version, and of custom resources, from their projects."""

import functools

import jsonschema
import kubernetes_validate
import yaml
from tools import tools


class Loader(yaml.CSafeLoader):
    """A YAML loader that reads "=" as text, unlike YAML 1.1."""


Loader.add_constructor("tag:yaml.org,2002:value", Loader.construct_yaml_str)

VERSIONS = [f"1.{minor}" for minor in range(28, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]


class Unknown(Exception):
    """There is no schema for this kind."""


def is_custom(document):
    return document["apiVersion"].split("/")[0] in ("keda.sh", "monitoring.coreos.com")


def check(document, version):
    """Raises an error if the document is invalid, or Unknown. A field that is not in the schema is an error."""
    if is_custom(document):
        check_custom(document)
        return
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise Unknown(str(error)) from error


def check_custom(document):
    schema = custom_schemas().get((document["apiVersion"], document["kind"]))
    if schema is None:
        raise Unknown(f"no schema for {document['apiVersion']} {document['kind']}")
    jsonschema.validate(document, schema)


@functools.cache
def custom_schemas():
    """{(apiVersion, kind): schema} of all definitions of custom resources."""
    schemas = {}
    for path in sorted((tools("crds") / "crds").glob("*.yaml")):
        for definition in yaml.load_all(path.read_text(encoding="utf-8"), Loader):
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = closed(version["schema"]["openAPIV3Schema"])
                # The fields that an API server accepts in every object.
                schema["properties"] |= {"metadata": {"type": "object"}}
                schemas[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema
    return schemas


def closed(schema):
    """The same schema without additional properties."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    is_open = schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and "type" in schema and not is_open:
        made.setdefault("additionalProperties", False)
    if "(?i)" in str(schema.get("pattern", "")):  # Go allows it anywhere, Python only at the start
        made["pattern"] = "(?i)" + schema["pattern"].replace("(?i)", "")
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made
