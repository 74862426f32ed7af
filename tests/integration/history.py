"""Checks the invariants of a finished run, on its documents in the database."""

from pipelines import POST, PRE, STUDENT, job_id_of, kind_of


def expected_jobs(run, students, pre, post):
    """Ids of all jobs of a run."""
    jobs = [job_id_of(run, PRE)] if pre else []
    jobs += [job_id_of(run, STUDENT, index) for index in range(students)]
    return jobs + ([job_id_of(run, POST)] if post else [])


def check_history(stack, run, students, pre=True, post=True, graders=()):
    """One result per job, attempts without gaps, phases in order, and consistent with the answers that graders
    received."""
    jobs = expected_jobs(run, students, pre, post)
    results = {result["_id"]: result for result in stack.database.results(run)}
    assert sorted(results) == sorted(jobs), "there must be one result for every job, and no other"
    leases = stack.database.leases(run)
    check_attempts(jobs, leases)
    check_phases(leases, results)
    check_answers(results, graders)
    stored = stack.database.run(run)
    assert stored["state"] in ("finished", "failed") and "finished_at" in stored and "active" not in stored
    return leases


def check_attempts(jobs, leases):
    """Attempts 1, 2, 3 ... of every job; all but the last have ended."""
    by_job = {job: [] for job in jobs}
    for lease in leases:
        by_job[lease["_id"][:32]].append(lease)
    for job, own in by_job.items():
        assert [int(lease["_id"][33:]) for lease in own] == list(range(1, len(own) + 1)), (
            f"attempts of {job} have a gap"
        )
        assert all("ended" in lease for lease in own[:-1]), f"{job} had two live leases"


def check_phases(leases, results):
    """No student before the pre-processing result, no post-processing before the last student's."""
    ended = {kind: [r["finished_at"] for job, r in results.items() if kind_of(job) == kind] for kind in (PRE, STUDENT)}
    begun = {
        kind: [lease["leased_at"] for lease in leases if kind_of(lease["_id"]) == kind] for kind in (STUDENT, POST)
    }
    slack = 0.25  # dates are taken by different processes from one clock, each with a small error
    for before, after in ((PRE, STUDENT), (STUDENT, POST)):
        if ended[before] and begun[after]:
            gap = (min(begun[after]) - max(ended[before])).total_seconds()
            assert gap > -slack, f"phase {after} began {-gap:.3f} s before the end of phase {before}"


def check_answers(results, graders):
    """Each result is from a grader that was answered 200 (or got no answer, if it vanished)."""
    known = {grader.id: grader for grader in graders}
    for grader in graders:
        for job in grader.accepted:
            if job in results:
                assert results[job]["worker"] == grader.id, f"{job}: heard 200, but another's result stands"
    for job, result in results.items():
        if result.get("worker") in known:
            taken = {taken_job for taken_job, _, _ in known[result["worker"]].taken}
            assert job in taken, f"{job}: its result is of a grader that never had it"
