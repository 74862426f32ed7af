"""Options: what takes long is chosen, not left out by chance."""


def pytest_addoption(parser):
    parser.addoption("--cluster", action="store_true", help="with a real kube-apiserver")
    parser.addoption("--images", action="store_true", help="build the images, twice, and run what is in them")


def pytest_collection_modifyitems(config, items):
    """Without its option a test isn't there; it is not "skipped"."""
    missing = [marker for marker in ("cluster", "images") if not config.getoption(f"--{marker}")]
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
