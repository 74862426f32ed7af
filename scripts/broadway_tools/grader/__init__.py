"""The reference grader: takes jobs from a Broadway API, runs their stages, and reports what came of them."""
