"""Images are pulled before a stage and outside of its time, once for all slots that want the same one."""

import logging
import threading
import time
from concurrent.futures import Future, wait

from broadway_tools.grader.faults import IMAGE_KINDS, Fault

POLICIES = ("missing", "always", "never")
# An image that could not be had is not asked for again during this time.
REMEMBERED_S = 60
# Of podman, the registry of images that were made here: there is none.

log = logging.getLogger("grader")


def without_tag(image):
    """The name of an image, without its tag."""
    path, slash, name = image.rpartition("/")
    return f"{path}{slash}{name.partition(':')[0]}"


class Images:
    """`policy` is one of POLICIES. Any thread may call."""

    def __init__(self, engine, policy, limit_s, metrics):
        self._engine = engine
        self._policy = policy
        self._limit_s = limit_s
        self._metrics = metrics
        self._lock = threading.Lock()  # guards the fields of this paragraph
        self._under_way = {}  # image → Future of its digest
        self._refused = {}  # image → (when to try again, Fault)

    def ensure(self, image, until=None, is_probe=False):
        """The digest of the image, which is here afterwards. Raises Fault, also if it is not here at `until`, by the
        monotonic clock (None: no limit): then the pull goes on, and serves who asks next. A probe asks again for a
        refused image."""
        with self._lock:
            again, fault = self._refused.get(image, (0, None))
            if fault and not is_probe and time.monotonic() < again:
                raise Fault(fault.kind, str(fault))
            future = self._under_way.get(image)
            is_ours = future is None
            if is_ours:
                future = self._under_way[image] = Future()
        if is_ours:
            threading.Thread(target=self._fill, args=(image, future), daemon=True).start()
        wait([future], None if until is None else max(0, until - time.monotonic()))
        if not future.done():
            raise Fault("pull", f"the image {image} is still being pulled")
        return future.result()

    def ensure_pinned(self, image, digest, until=None):
        """(what to run, its digest): the image by this digest, if that can be had. Else what its name stands for here,
        which the API flags. Raises Fault."""
        if self._engine.image_digest(image) == digest:
            return image, digest
        if self._is_id(digest):
            return digest, digest
        by_digest = f"{without_tag(image)}@{digest}"
        try:
            return by_digest, self.ensure(by_digest, until)
        except Fault as fault:
            if fault.kind not in IMAGE_KINDS:
                raise
            log.warning("the image %s can't be had by the digest of its run: %s", image, fault)
        return image, self.ensure(image, until)

    def _is_id(self, digest):
        """Whether the digest is the id of an image that is here, which no registry knows."""
        return self._engine.image_digest(digest) == digest

    def _fill(self, image, future):
        try:
            digest, fault = self._get(image), None
        except Exception as error:
            digest, fault = None, error
        with self._lock:
            del self._under_way[image]
            self._refused.pop(image, None)
            if isinstance(fault, Fault) and fault.kind in IMAGE_KINDS:
                self._refused[image] = (time.monotonic() + REMEMBERED_S, fault)
        if fault:
            future.set_exception(fault)
        else:
            future.set_result(digest)

    def _get(self, image):
        digest = None if self._policy == "always" else self._engine.image_digest(image)
        if digest:
            return digest
        if self._policy == "never":
            raise Fault("image", f"the image {image} is not here, and --pull is never")
        started = time.monotonic()
        log.info("pulling %s", image)
        self._engine.pull(image, self._limit_s)
        self._metrics.add("broadway_grader_pulls_total")
        log.info("pulled %s in %.1f s", image, time.monotonic() - started)
        return self._engine.image_digest(image)
