"""`jobs`: end to end through the public API, with graders that finish at once."""

from broadway_bench.setting import PARTS, system

GRADERS = {8: 2500, 32: 5000, 256: 8000}
STUDENTS = (50, 1000)
INSTRUCTORS = 4


def jobs(wanted):
    """Jobs a second and cpu for both sizes of runs and all numbers of graders."""
    figures = {}
    for students in STUDENTS:
        for graders, count in GRADERS.items():
            figures.update(_one(wanted, students, graders, wanted.count(count, students)))
    return figures


def _one(wanted, students, graders, count):
    runs = max(1, count // students)
    name = f"{graders} graders, runs of {students}"
    with system(wanted) as running:
        generator = running.generator
        generator.ask("describe", students, 0)
        generator.ask("submit", runs, INSTRUCTORS, 0)
        running.park(graders)
        with running.counting_cpu() as used:
            answer = generator.ask("jobs", runs * students, INSTRUCTORS, 120)
        figures = {
            f"{name}: jobs/s": answer["reported"] / answer["seconds"],
            f"{name}: result to next job, p50 ms": answer["next_job"]["p50_ms"],
            f"{name}: result to next job, p99 ms": answer["next_job"]["p99_ms"],
        }
        for part in PARTS:
            if part in used:
                figures[f"{name}: {part}, cpu s per 1,000 jobs"] = used[part] / answer["reported"] * 1000
        faults = running.faults()
        faults["missing"] = runs * students - answer["held"]
        figures.update({f"{name}: {fault}": value for fault, value in faults.items()})
    return figures
