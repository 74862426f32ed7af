"""Shows a run on its way: a bar on a terminal, a line at every change elsewhere."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


def show_progress(statuses, console):
    """Shows every status of an iterable as it comes. Returns the last."""
    return _show_bar(statuses, console) if console.is_terminal else _show_lines(statuses, console)


def done_count(progress):
    """How many of a run's jobs are over."""
    return progress["succeeded"] + progress["failed"] + progress["cancelled"]


def describe(status):
    """One line: the state, and the counts that aren't 0."""
    progress = status["progress"]
    counts = ", ".join(
        f"{progress[name]} {name}"
        for name in ("queued", "running", "succeeded", "failed", "cancelled")
        if progress[name]
    )
    return f"{status['state']}: {done_count(progress)}/{progress['total']} done" + (f" ({counts})" if counts else "")


def _show_bar(statuses, console):
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
    )
    status = None
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, failed=0)
        for status in statuses:
            progress = status["progress"]
            bar.update(
                task,
                description=status["state"],
                total=max(progress["total"], 1),
                completed=done_count(progress) if progress["total"] else 1,
                failed=progress["failed"],
            )
    return status


def _show_lines(statuses, console):
    status, shown = None, None
    for status in statuses:
        line = describe(status)
        if line != shown:
            console.print(line, highlight=False, soft_wrap=True)
            shown = line
    return status
