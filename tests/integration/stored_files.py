"""Files in a stack's database, as broadway-api stores them (common/store/file_store.h)."""

import datetime
import hashlib

CHUNK = 128 * 1024


def hex_of(content):
    return hashlib.sha256(content).hexdigest()


def digest_of(content):
    return f"sha256:{hex_of(content)}"


def store_file(database, content, scope=""):
    """Stores a file without a request; returns its digest."""
    name, now = f"{scope}/{hex_of(content)}", datetime.datetime.now(datetime.timezone.utc)
    for number, start in enumerate(range(0, len(content), CHUNK)):
        chunk = {"files_id": name, "n": number, "data": content[start : start + CHUNK]}
        database.db["files.chunks"].replace_one({"_id": f"{name}/0/{number:08}"}, chunk, upsert=True)
    file = {"length": len(content), "chunkSize": CHUNK, "uploadDate": now, "used_at": now, "content": f"{name}/0"}
    database.db["files.files"].replace_one({"_id": name}, file, upsert=True)
    return digest_of(content)


def forget_file(database, digest, scope=""):
    """Removes a file, as if its removal had raced with its use."""
    database.db["files.files"].delete_one({"_id": f"{scope}/{digest[len('sha256:') :]}"})


def uses_of(database, run):
    """The digests of the files that a run uses."""
    found = database.db["file_uses"].find({"_id": {"$regex": f"^{run}/"}})
    return sorted("sha256:" + use["_id"].rpartition("/")[2] for use in found)
