"""Connections as a means to keep others out: idle ones, half-sent requests, event streams, descriptors. Whoever holds
as many as there may be, graders that are known work on, and a new one can register."""

import time

import pytest
from broadway import ROUTE, Api, SeedGrader
from course import COURSE, Course
from harness import Replica, run_stack
from pipelines import course_config_of, run_of
from processes import cpu_seconds
from raw import connect
from waiting import PATIENCE, wait_until

MOST = 256
SOON_S = 1 * PATIENCE
