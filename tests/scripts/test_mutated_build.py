"""broadway_tools/mutated_build.py: which patches can be applied, and the messages for those that can't."""

import pytest
from broadway_tools.mutated_build import PatchError, patched_files

SOURCE = "int one(void)\n{\n    return 1;\n}\n\nint two(void)\n{\n    return 2;\n}\n"
PATCH = """What this takes out.
diff --git a/api/number.c b/api/number.c
--- a/api/number.c
+++ b/api/number.c
@@ -100,3 +100,4 @@ a place that is long out of date
 {
-    return 1;
+    (void)0;
+    return 3;
 }
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "number.c").write_text(SOURCE)
    return tmp_path


def patched(root, text):
    patch = root / "guard.patch"
    patch.write_text(text)
    return patched_files(patch, root)


def test_a_patch_applies_to_moved_lines(root):
    assert patched(root, PATCH) == {"api/number.c": SOURCE.replace("    return 1;\n", "    (void)0;\n    return 3;\n")}


def test_applying_leaves_the_sources_alone(root):
    patched(root, PATCH)
    assert (root / "api" / "number.c").read_text() == SOURCE


def test_all_hunks_of_all_files_are_applied(root):
    (root / "api" / "other.c").write_text(SOURCE)
    second = "@@ -8 +8 @@\n-    return 2;\n+    return 4;\n"
    changed = patched(root, PATCH + second + "--- a/api/other.c\n+++ b/api/other.c\n" + second)
    assert "return 3" in changed["api/number.c"] and "return 4" in changed["api/number.c"]
    assert changed["api/other.c"] == SOURCE.replace("return 2", "return 4")


def test_a_patch_of_changed_lines_is_refused_with_instructions(root):
    (root / "api" / "number.c").write_text(SOURCE.replace("return 1", "return 7"))
    with pytest.raises(PatchError, match=r"(?s)does not apply to api/number\.c.*stand 0 times.*git diff -U1"):
        patched(root, PATCH)


def test_a_patch_that_fits_twice_is_refused(root):
    (root / "api" / "number.c").write_text(SOURCE.replace("return 2", "return 1"))
    with pytest.raises(PatchError, match="stand 2 times"):
        patched(root, PATCH)


def test_a_patch_of_a_missing_file_is_refused_with_instructions(root):
    (root / "api" / "number.c").rename(root / "api" / "digit.c")
    with pytest.raises(PatchError, match=r"(?s)api/number\.c, which is not there.*git diff -U1"):
        patched(root, PATCH)


@pytest.mark.parametrize("path", ["tests/unit/test_clock.c", "CMakeLists.txt", "api/../tests/a.c"])
def test_a_patch_may_change_only_the_product(root, path):
    with pytest.raises(PatchError, match="may only change files in api, common, scheduler"):
        patched(root, PATCH.replace("api/number.c", path))


@pytest.mark.parametrize("text", ["Only a sentence.\n", PATCH.replace("(void)0;\n+    return 3;", "return 1;")])
def test_a_patch_that_changes_nothing_is_refused(root, text):
    with pytest.raises(PatchError, match="changes nothing"):
        patched(root, text)
