"""Options that select the slow tests."""


def pytest_addoption(parser):
    parser.addoption("--cluster", action="store_true", help="with a real kube-apiserver")
    parser.addoption("--images", action="store_true", help="build the images, twice, and run what is in them")
    parser.addoption(
        "--images-from",
        metavar="DIR",
        help="with --images: don't build; DIR is of scripts/images --rootfs DIR, with its output as DIR/images.log",
    )


def pytest_collection_modifyitems(config, items):
    """Removes tests whose option is not given, instead of skipping them."""
    missing = [marker for marker in ("cluster", "images") if not config.getoption(f"--{marker}")]
    left_out = [item for item in items if any(item.get_closest_marker(marker) for marker in missing)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
